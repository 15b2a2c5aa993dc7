"""`%%shell`: the lines of a cell, in a real shell, as they are typed in a terminal.

    %%shell                       here, in bash
    %%shell in box                in a sandbox, a container, or a machine with a `login` by ssh
    %%shell as said               what was printed is kept in `said`
    %%shell pid=web.pid in box    `$pid` is a value from Python; the line that sets it is printed

Each command is printed after `$` and run; the first one that fails ends the cell, which fails. A
line that should fail begins with `! `, as in a shell. What runs in the background ends with the
cell; in a sandbox, with the sandbox.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labsupport import trace
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

SHELL = "bash"
_MARK = re.compile("\x1e([0-9]+)\x1f")
_BEGUN_MARK = re.compile("\x1e[0-9]*\\Z")
_HERE_DOCUMENT = "here-document"  # bash -n warns about one that has not ended, and exits with 0
_SETTING = re.compile(r"([A-Za-z_]\w*)=(.+)")
_FOLLOW_SECONDS = 0.1
_LINES_OF_OURS = re.compile(r"^(exec 2>&1|printf '\\036.*|labstatus=.*)\n", re.MULTILINE)


def load(shell: InteractiveShell) -> None:
    """Make `%%shell` known."""
    register: Any = shell.register_magic_function  # whose types are wrong
    register(run_cell, "cell", "shell")


@dataclass(frozen=True)
class Wishes:
    """What stands behind `%%shell`: expressions of Python, and the name to keep the words in."""

    inside: str = ""
    kept_as: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def wishes(line: str) -> Wishes:
    """Read the line of the magic. Raises `LabError`, which shows how it is written."""
    words, found, settings = line.split(), {"in": "", "as": ""}, {}
    while words:
        word = words.pop(0)
        if word in found and words and not found[word]:
            found[word] = words.pop(0)
        elif setting := _SETTING.fullmatch(word):
            settings[setting[1]] = setting[2]
        else:
            raise LabError(
                f"%%shell does not understand {word!r}",
                f"the line is: %%shell {line}",
                "%%shell, %%shell in box, %%shell as said, or %%shell pid=web.pid, and the "
                "commands on the lines below",
            )
    if found["as"] and not found["as"].isidentifier():
        raise LabError(f"%%shell cannot keep words as {found['as']!r}", "that is not a name")
    return Wishes(found["in"], found["as"], settings)


def run_cell(line: str, cell: str) -> None:
    """Run the cell's lines; see the top of this module. Raises `LabError`."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    wanted = wishes(line)
    try:
        inside = shell.ev(wanted.inside) if wanted.inside else None
        values = {name: shell.ev(text) for name, text in wanted.settings.items()}
    except NameError as error:
        raise LabError(f"%%shell {line}", str(error), "run the cells above it first") from error
    setting = [f"{name}={shlex.quote(str(value))}" for name, value in values.items()]
    commands = [*setting, *split(cell)]
    if not commands:
        raise LabError("%%shell has nothing to run", remedy="write a command below it")
    teller = Teller(commands)
    status = run_in(inside, script(commands), teller.hear)
    teller.end()
    if wanted.kept_as:
        shell.user_ns[wanted.kept_as] = teller.said
    if status:
        why = {126: ", it may not be executed", 127: ", there is no such program"}.get(status, "")
        raise LabError(
            f"this line failed: {teller.running.splitlines()[0]}",
            f"it ended with status {status}{why}; what it said stands above",
            "mend the line, and run the cell again (a line that should fail begins with “! ”)",
        )


def split(text: str) -> list[str]:
    """Cut a text into commands, each of one line or of those that belong together."""
    # Bash decides (`bash -n`): what is not complete yet goes on in the next line
    commands, begun = [], ""
    for line in text.splitlines():
        begun = f"{begun}\n{line}" if begun else line.strip()
        if begun and _is_complete(begun):
            commands.append(begun)
            begun = ""
    return [*commands, begun] if begun else commands


def _is_complete(command: str) -> bool:
    if not re.search(r"[\\'\"`{(<|&]|\b(if|for|while|until|case|do|select|function)\b", command):
        return True
    if command.endswith("\\"):
        return False
    checked = subprocess.run(
        [_here(), "-n"], input=command, capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return checked.returncode == 0 and _HERE_DOCUMENT not in checked.stderr


def script(commands: list[str]) -> str:
    """Return the commands as one script: it prints a mark before each, and ends where one fails."""
    lines = ["exec 2>&1"]
    for number, command in enumerate(commands):
        lines += [f"printf '\\036{number}\\037'", command]
        lines.append("labstatus=$?; [ $labstatus -eq 0 ] || exit $labstatus")
    return "\n".join(lines) + "\n"


class Teller:
    """Prints what a script says, as it comes, with its commands in the place of the marks.

    `said` is what the programs printed, `running` the command that was begun last.
    """

    def __init__(self, commands: list[str]) -> None:
        self._commands = commands
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""
        self._at_line_start = True
        self.said = ""
        self.running = commands[0]

    def hear(self, data: bytes) -> None:
        """Take some more output; nothing is matched that may go on."""
        self._waiting += self._decoder.decode(data)
        begun = _BEGUN_MARK.search(self._waiting)
        whole = self._waiting[: begun.start()] if begun else self._waiting
        self._waiting = self._waiting[len(whole) :]
        self._tell(whole)

    def end(self) -> None:
        """Tell what is left."""
        self._tell(self._waiting + self._decoder.decode(b"", final=True))

    def _tell(self, text: str) -> None:
        place = 0
        for mark in _MARK.finditer(text):
            self._print(text[place : mark.start()])
            self._begin(int(mark[1]))
            place = mark.end()
        self._print(text[place:])

    def _begin(self, number: int) -> None:
        self.running = self._commands[number]
        line = self.running.replace("\n", "\n> ")
        print(f"{'' if self._at_line_start else chr(10)}$ {line}", flush=True)
        self._at_line_start = True

    def _print(self, text: str) -> None:
        if text:
            print(text, end="", flush=True)
            self.said += text
            self._at_line_start = text.endswith("\n")


def run_in(inside: Any, text: str, hear: Callable[[bytes], None]) -> int:
    """Run a script there, and return its exit status; `hear` is told what is said."""
    if isinstance(inside, Sandbox):
        return _run_in_sandbox(inside, text, hear)
    login = getattr(inside, "login", ())
    if inside is None or login:
        return _run_here(text, hear, login)
    container = getattr(inside, "container", inside)
    if hasattr(container, "exec_run"):
        return _run_in_container(container, text, hear)
    why = "it is neither a sandbox nor a container"
    remedy = "write “%%shell in NAME” with the name of one of these"
    raise LabError(f"%%shell cannot run in {type(inside).__name__} {inside!r:.60}", why, remedy)


def _here() -> str:
    return shutil.which(SHELL) or "sh"


def _run_here(text: str, hear: Callable[[bytes], None], before: Sequence[str]) -> int:
    process = subprocess.Popen(
        [*marks.reaping(), "--", *(before or [_here(), "-c"]), text],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(),
        start_new_session=True,  # an interrupt is for the notebook
    )  # fmt: skip
    with process:
        try:
            while data := process.stdout.read1():  # type: ignore[union-attr]
                hear(data)
        finally:  # its reaper sees the end of its input, and ends all that was started
            process.communicate()
    return process.returncode


def _environment() -> dict[str, str]:
    """The notebook's environment, without what changes how bash and other programs speak."""
    kept = {name: value for name, value in os.environ.items() if name not in ("BASH_ENV", "ENV")}
    return {**kept, **trace.environment, "LC_ALL": "C.UTF-8", "PAGER": "cat"}


def _run_in_sandbox(box: Sandbox, text: str, hear: Callable[[bytes], None]) -> int:
    _ = box.pid  # a PID 1 that outlives the cell; the sandbox would end with the shell
    program = "sh" if box.rootfs else _here()
    process = box.start([program, "-c", text], env=box.environment(_environment()))
    box.record_as(text, _LINES_OF_OURS.sub("", text))
    heard = 0
    try:
        ended = False
        while not ended:  # its output is a file, which cannot be waited for
            ended = bool(select.select([process], [], [], _FOLLOW_SECONDS)[0])
            output = process.output if ended else process.output.rstrip("\ufffd")  # half a letter
            hear(output[heard:].encode())
            heard = len(output)
    finally:
        process.signal(signal.SIGKILL)
    return process.wait()


def _run_in_container(container: Any, text: str, hear: Callable[[bytes], None]) -> int:
    api = container.client.api
    made = api.exec_create(container.id, ["sh", "-c", text])["Id"]
    for piece in api.exec_start(made, stream=True):
        hear(piece)
    return int(api.exec_inspect(made)["ExitCode"])
