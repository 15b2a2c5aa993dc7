"""A container that is built by hand, in notebook 08: from a list of functions to a running program.

The functions' sources become one script, which a fresh small Python executes; the notebook's own
process never moves. All of it happens on a *stage*: a sandbox that plays the host, with a secret, a
server and a process to break out to. It dies with the notebook, and whatever is on it. What the
kernel refuses is explained: often a step comes too late, or too early.
"""

from __future__ import annotations

import ast
import errno
import html
import inspect
import json
import os
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any, Self

from labsupport.cgroup.group import Cgroup
from labsupport.errors import LabError, NamespaceRefused, ProcessGone, StepFailed, TimedOut
from labsupport.handmade import building
from labsupport.handmade.building import FAILED, Step
from labsupport.kernel import proc
from labsupport.kernel.capabilities import capability_mask
from labsupport.kernel.procfs import status, tries
from labsupport.ownership import marks
from labsupport.ownership.marks import Opening
from labsupport.sandbox.process import Process
from labsupport.sandbox.rootfs import small_root
from labsupport.sandbox.sandbox import Sandbox
from labsupport.seccomp.filter import Filter
from labsupport.trace import Completed

HOST_NAME, NAME = "the-host", "handmade"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANY_USERS = "0 100000 65536"  # 0 to 65535 inside are 100000 to 165535 outside
ONE_USER = "0 0 1"  # an ordinary user can map only themselves
BRIDGE, OUTER = "bridge", "10.8.0.1/16"
PATIENCE_SECONDS = 60.0  # in a busy page, the Python of a container takes more than twenty to begin
CAP_SYS_ADMIN = 21  # linux/capability.h
WORDS = {"write", "run", "wait_and_exit", "become_root", "start"}  # of ours, in a script
ANY_PYTHON = "#!/usr/bin/env python3"
_HEAD = '''\
{python}
"""A container, by hand."""
{imports}


'''
_RUN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); path = sys.argv.pop(1); "
    "exec(compile(open(path).read(), path, 'exec'))"
)
# what systemd does with a host's mounts, what Docker does with its network
_STAGE = f"""mount --make-rshared /
ip link set lo up
ip link add {BRIDGE} type bridge
ip address add {OUTER} dev {BRIDGE}
ip link set {BRIDGE} up"""
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])

Steps = Iterable[Step]
Words = Sequence[str]
Env = Mapping[str, str]
SLEEP = ("sleep", "3600")


class Workshop(Opening):
    """Where containers are built by hand; use it in a `with` statement, or `open()` and `close()`.

    `kept` (names of capabilities), `filter` and `cgroup` are settings for the next container.
    `root` is its root file system: a busybox, and a folder `/shared`.
    """

    def __init__(self) -> None:
        self.kept: Collection[str] = ()
        self.filter: Filter | None = None
        self.cgroup: Cgroup | None = None
        self.stage = Sandbox(new={"pid", "mount", "net", "uts", "ipc"}, hostname=HOST_NAME)
        self._count = 0

    def open(self) -> Self:
        """Make the stage, and a root file system."""
        self._root = small_root(folders=("shared", "shared/mnt"))
        self.root = Path(self._root.path)
        for folder in ("shared", "shared/mnt"):
            (self.root / folder).chmod(0o777)
        (self.root / "dev/null").touch()  # where the device will be mounted
        self._folder = tempfile.TemporaryDirectory(prefix=marks.prefix("workshop"))
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.stage.open()
        done = self.stage.run(["sh", "-ec", _STAGE])
        if done.returncode:
            raise NamespaceRefused("the stage cannot be set", done.stderr.strip())
        return self

    def close(self) -> None:
        """End everything on the stage, and remove it and the group; may be called twice."""
        self.stage.close()
        if self.cgroup:
            self.cgroup.close()
        if hasattr(self, "_folder"):
            self._folder.cleanup()
            self._root.close()

    @property
    def users(self) -> str:
        """The line for `uid_map` that makes root inside somebody else outside."""
        return ONE_USER if "user" in self.stage.new else MANY_USERS

    def script(self, steps: Steps) -> Script:
        """Return the program that takes these steps, to be read, or saved and run by hand."""
        return collect(steps)

    def start(
        self, steps: Steps, argv: Words = SLEEP, env: Env | None = None, **more: Any
    ) -> Handmade:
        """Build a container, and return when its program executes; `more` is for `Sandbox.start`.

        Raises `StepFailed`: the kernel refused a step, or it is wrong; the message says which and
        why; `LabError`: a step is not a function that was defined in a cell or a file.
        """
        made = self._launch(steps, argv, env or {}, **more)
        made.wait_until_executed()
        return made

    def run(self, steps: Steps, argv: Words) -> Completed:
        """Build a container for one program, and return what it printed; errors as for `start`."""
        began = time.monotonic()
        made = self._launch(steps, argv, {})
        process = made.process
        code = process.wait(PATIENCE_SECONDS)
        if code == FAILED:
            made.wait_until_executed()  # which says why not
        seconds = time.monotonic() - began
        return Completed(tuple(argv), process.output, process.errors, code, seconds)

    def save(self, steps: Steps, argv: Words) -> list[str]:
        """Write script and settings into a folder, and return the command that runs them.

        It is for root; an ordinary user puts `unshare --map-root-user` before it. The script's
        first line names this very Python: another one may not have the course's modules.
        """
        script, files = self._write(steps, argv, {}, journal="")
        Path(files[0]).write_text(script.text.replace(ANY_PYTHON, f"#!{sys.executable}", 1))
        Path(files[0]).chmod(0o755)
        return files

    def ask(self, made: Handmade, path: str = "/") -> str:
        """Fetch a page from a server in a container, from outside; see `fetch`."""
        return self.fetch(f"http://{made.address}{path}")

    def fetch(self, page: str) -> str:
        """Fetch a page from the stage; wait until its server listens, or raise TimedOut."""
        for _ in tries(PATIENCE_SECONDS, 0.05):
            answer = self.stage.run(["busybox", "wget", "-q", "-O", "-", page])
            if not answer.returncode:
                return answer.stdout
        raise TimedOut(f"{page} does not answer", f"{answer.stderr} {answer.ending}")

    def new_folder(self) -> Path:
        """Make an empty folder, which is removed with the workshop."""
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        return folder

    def _write(
        self, steps: Steps, argv: Words, env: Env, journal: str = "journal"
    ) -> tuple[Script, list[str]]:
        """Write the script, and what it finds in its `config.json`; see `building.Container`."""
        script, folder = collect(steps), self.new_folder()
        settings = {
            "root": str(self.root),
            "name": NAME,
            "command": list(argv),
            "env": {"PATH": PATH, "HOME": "/root", marks.VARIABLE: marks.mark(), **env},
            "inside": f"{self._address}/16",
            "bridge": BRIDGE,
            "users": self.users,
            "cgroup": list(self.cgroup.procs_paths) if self.cgroup else [],
            "kept": capability_mask(self.kept),
            "filter": b"".join(self.filter.programs).hex() if self.filter else "",
            "journal": journal and str(folder / journal),
        }
        texts = {"container.py": script.text, "config.json": json.dumps(settings, indent=1)}
        for name, text in texts.items():
            (folder / name).write_text(text)
        return script, [str(folder / name) for name in texts]

    @property
    def _address(self) -> str:
        return f"10.8.{self._count % 250}.2"

    def _launch(self, steps: Steps, argv: Words, env: Env, **more: Any) -> Handmade:
        script, files = self._write(steps, argv, env)
        journal = Path(files[0]).with_name("journal")
        self.stage.pid  # noqa: B018 (its PID 1 is there before the script)
        program = [sys.executable, "-I", "-S", "-c", _RUN, _PACKAGE_PARENT, *files]
        process = self.stage.start(program, cwd="/", **more)
        return Handmade(process, journal, script, self._address)


@dataclass
class Handmade:
    """A container built by hand: `process` is the parent that stayed outside.

    `address` is its own in its network.
    """

    process: Process
    journal: Path
    script: Script
    address: str

    @cached_property
    def pid(self) -> int:
        """The number, on this side, of the program in the container."""
        found = proc.children(self.process.pid)
        if not found:
            raise ProcessGone("the container has no process", "it has ended")
        # with a PID namespace of its own, it is that one's process 1
        below = [pid for pid in proc.children(found[0]) if status(pid).pids[-1] == 1]
        return (below or found)[0]

    def told(self) -> list[dict[str, Any]]:
        """What it wrote down while it was built: steps and when, a failure, the execution."""
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def wait_until_executed(self) -> None:
        """Return when the steps are done; else raise StepFailed, or TimedOut after a minute."""
        for _ in tries(PATIENCE_SECONDS, 0.003):
            ended = self.process.returncode is not None
            told = self.told()
            if any("failed" in line for line in told):
                raise explain(told, self.script)
            if any("execute" in line for line in told):
                break
            if ended:  # it wrote nothing, as when it is not valid Python
                said = self.process.errors.strip().splitlines() or ["it said nothing"]
                step = (*self.script.steps, "start")[0]
                what = "the container script ended early"
                raise StepFailed(step, 0, what, said[-1], "look at the script")
        else:
            raise TimedOut("the container is not there", f"it did: {told}")
        with suppress(ProcessGone, OSError):  # it has ended already
            script = os.readlink(f"/proc/{self.process.pid}/exe")
            for _ in tries(PATIENCE_SECONDS, 0.001):  # it told so right before its execve
                if os.readlink(f"/proc/{self.pid}/exe") != script:
                    break

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self.process.signal(9)
        self.process.wait(PATIENCE_SECONDS)


@dataclass(frozen=True)
class Script:
    """A program as text, and the names of the steps that it takes, in order.

    In the `lent` ones the reader's line is still missing, and our function stands in for theirs.
    """

    text: str
    steps: tuple[str, ...]
    lent: tuple[str, ...] = ()

    @property
    def code_lines(self) -> int:
        """How many lines have code: no blanks, comments or docstrings."""
        return _code_lines(self.text)

    def finding(self) -> str:
        base = inspect.getsource(building).partition("# The nine steps")[0]
        lent = f" ({len(self.lent)} of them with our line)" if self.lent else ""
        return (
            f"{self.code_lines} lines: {len(self.steps)} steps of yours{lent}. "
            f"They stand on {_code_lines(base)} lines of ours, which fork, carry messages out "
            "and keep a journal"
        )

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        text = f"<pre style='margin:0;line-height:1.35'>{html.escape(self.text)}</pre>"
        return f"<details><summary>{html.escape(self.finding())}</summary>{text}</details>"


def _code_lines(source: str) -> int:
    text = re.sub(r'^\s*""".*?"""$', "", source, flags=re.MULTILINE | re.DOTALL)
    return sum(bool(line.split("#")[0].strip()) for line in text.splitlines())


def collect(steps: Steps) -> Script:
    """Make a script of the steps, of the functions that they use, and of what must be imported."""
    # where a step, or what it uses, still has a line `...`, ours of the same name stands in for it
    sources: dict[str, str] = {}
    names, lent = [], []
    for step in steps:
        functions = list(_with_helpers(step))
        names.append(step.__name__)
        for each in functions:
            nodes = ast.walk(ast.parse(_text(each)))
            lines = (node.value for node in nodes if isinstance(node, ast.Expr))
            if any(isinstance(line, ast.Constant) and line.value is ... for line in lines):
                lent.append(step.__name__)
                sources |= {ours.__name__: _text(ours) for ours in _with_helpers(_ours(each))}
            else:
                sources[each.__name__] = _text(each)
    used = set().union(*map(_names, sources.values()))
    head = _HEAD.format(python=ANY_PYTHON, imports="\n".join(_imports(used, [*sources.values()])))
    last = f"start([{', '.join(names)}])"
    if len(last) > 88:
        last = "start([\n" + textwrap.indent(textwrap.fill(", ".join(names), 80), "    ") + "\n])"
    text = head + "\n\n\n".join([*sources.values(), last]) + "\n"
    return Script(text, tuple(names), tuple(lent))


def _names(source: str) -> set[str]:
    """The names that a text uses."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def _imports(used: set[str], sources: list[str]) -> Iterator[str]:
    if any("->" in source for source in sources):
        yield "from __future__ import annotations"
    yield from (f"import {module}" for module in ("os", "signal") if module in used)
    if "linux" in used:
        yield "from labsupport.kernel import syscalls as linux"
    words = sorted(WORDS & {*used, "start"})
    yield f"from labsupport.handmade.building import {', '.join(words)}"


def _with_helpers(function: Any) -> Iterator[FunctionType]:
    """Yield the functions of the reader's that it calls, then itself."""
    if not isinstance(function, FunctionType):
        raise LabError(
            f"{function!r} is not a step", "it is not a function", "a list of functions: [own_root]"
        )
    for name in function.__code__.co_names:
        other = function.__globals__.get(name)
        theirs = isinstance(other, FunctionType) and other.__module__ == function.__module__
        if theirs and other is not function and name not in WORDS:
            yield from _with_helpers(other)
    yield function


def _ours(function: FunctionType) -> FunctionType:
    """Our function of the same name, for one that still lacks a line."""
    ours = getattr(building, function.__name__, None)
    if isinstance(ours, FunctionType):
        return ours
    why = "there is no solution that could stand in for it"
    remedy = "write it, or take the `...` out"
    raise LabError(f"a line of {function.__name__} is still `...`", why, remedy)


def _text(function: FunctionType) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except OSError as error:
        what = f"the source of {function.__name__} cannot be found"
        raise LabError(what, str(error), "define it in a cell of its own, with def") from error


def explain(told: Sequence[Mapping[str, Any]], script: Script) -> StepFailed:
    """Turn what a script wrote down into an error that says which step, why, and what to do."""
    failure = next(line for line in told if "failed" in line)
    number, step = failure["errno"], failure["failed"]
    text = failure["text"]
    if number in errno.errorcode:
        text += f" ({errno.errorcode[number]})"
    line = script.text.splitlines()[failure["line"] - 1].strip() if failure["line"] else ""
    done = [line for line in told if "step" in line]
    if any("begun" in line and line["filtered"] for line in told):  # as in Docker's containers
        done = [{**line, "filtered": False} for line in done]  # so nobody knows
    why, remedy = (
        _taken_away(failure, done)
        or _out_of_reach(failure, done)
        or _forked(done, script, step)
        or _general(failure)
    )
    what = f"step {step} failed{f', in: {line}' if line else ''}"
    return StepFailed(step, number, what, f"{text}\n{why}" if why else text, remedy)


Facts = Mapping[str, Any]
"""A line of the journal: a step that was done, or a failure, and what the process could do then."""


def _refused(failure: Facts) -> bool:
    return failure["errno"] in (errno.EPERM, errno.EACCES)


def _taken_away(failure: Facts, done: Sequence[Facts]) -> tuple[str, str] | None:
    """Find an earlier step that took away a privilege that this one needs."""
    for earlier in done if _refused(failure) else ():
        name = earlier["step"]
        if earlier["filtered"]:
            return (
                f"the filter of {name} is asked at each system call since then, and refuses this",
                f"take {name} last: the steps before it need calls that it refuses",
            )
        if not earlier["capabilities"] >> CAP_SYS_ADMIN & 1:
            return (
                f"CAP_SYS_ADMIN is gone since {name}, and this call takes it",
                f"take {name} later: steps that take something away come last",
            )
    return None


def _out_of_reach(failure: Facts, done: Sequence[Facts]) -> tuple[str, str] | None:
    """Find out whether an earlier step has moved us away from what this one needs."""
    path = failure["path"]
    if failure["errno"] == errno.ENOENT and path and os.path.exists(path) and done:
        return (
            f"{path} is there outside, but no longer in sight after {done[-1]['step']}",
            f"take {failure['failed']} before the step that changes the root file system",
        )
    if _refused(failure) and path.endswith("/proc"):
        return (
            "/proc shows a PID namespace, and who mounts it must be that one's owner",
            "take the step that makes the PID namespace before this one",
        )
    users = {line["user_namespace"] for line in done if line["user_namespace"]}
    if _refused(failure) and len(users) > 1:
        return (
            "it has every capability, but only over what was made in its new user namespace; this "
            "belongs to the old one",
            "take the step that makes the user namespace before the others that make namespaces",
        )
    return None


def _forked(done: Sequence[Facts], script: Script, step: str) -> tuple[str, str] | None:
    """Find out whether the step names, to the parent, a process that it no longer is."""
    body = script.text.partition(f"def {step}(")[2].partition("\n\n\n")[0]
    if not done or done[-1]["pid"] != 1 or "c.pid" not in body:
        return None
    new = next((line["step"] for line in done if line["pid"] != done[0]["pid"]), done[0]["step"])
    return f"c.pid is the first process, and {new} has forked a child", f"take {step} before it"


def _general(failure: Facts) -> tuple[str, str]:
    number = failure["errno"]
    if number == errno.EPERM:
        return "the kernel does not allow it to this process", "see what is allowed: ./lab doctor"
    if number == errno.EACCES and failure["path"]:
        return (
            "the user who we are outside may not enter it",
            f"let others through the folders above: chmod o+x, up to {failure['path']}",
        )
    if number == errno.EINVAL and "seccomp" in failure["text"]:
        return "the filter is empty", "set it: workshop.filter = Filter.deny([...])"
    return "", "compare the step with the text above it, and run its cell again"
