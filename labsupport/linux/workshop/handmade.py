"""A container that is built by hand, in notebook 08: from a list of functions to a running program.

The functions' sources become one script, which a fresh small Python executes; the notebook's own
process never moves. All of it happens on a *stage*: a sandbox that plays the host, with a secret, a
server and a process to break out to. It dies with the notebook, and whatever is on it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labsupport import ownership
from labsupport.completed import Completed
from labsupport.errors import NamespaceRefused, TimedOut
from labsupport.linux.capabilities import capability_mask
from labsupport.linux.cgroups import Cgroup
from labsupport.linux.rootfs import small_root
from labsupport.linux.sandbox import Sandbox
from labsupport.linux.seccomp import Filter
from labsupport.linux.workshop import scripts
from labsupport.linux.workshop.building import FAILED, Step
from labsupport.linux.workshop.built import PATIENCE_SECONDS, Handmade

HOST_NAME = "the-host"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANY_USERS = "0 100000 65536"  # 0 to 65535 inside are 100000 to 165535 outside
ONE_USER = "0 0 1"  # all that an ordinary user has to give away: themselves
NETWORKS = 200
_RUN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); path = sys.argv.pop(1); "
    "exec(compile(open(path).read(), path, 'exec'))"
)
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])


class Workshop:
    """Where containers are built by hand; use it in a `with` statement, or `open()` and `close()`.

    `name`, `kept` (names of capabilities), `filter` and `cgroup` are settings for the next
    container. `root` is its root file system: a busybox, and a folder `/shared`.
    """

    def __init__(self) -> None:
        self.name = "handmade"
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
        self._folder = tempfile.TemporaryDirectory(prefix=ownership.prefix("workshop"))
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.stage.open()
        done = self.stage.run(["ip", "link", "set", "lo", "up"])
        if done.returncode:
            raise NamespaceRefused("the stage has no loopback", done.stderr.strip())
        return self

    def close(self) -> None:
        """End everything on the stage, and remove it; may be called twice."""
        self.stage.close()
        if hasattr(self, "_folder"):
            self._folder.cleanup()
            self._root.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        tb: TracebackType | None = None,
    ) -> None:
        self.close()

    @property
    def users(self) -> str:
        """The line for `uid_map` that makes root inside somebody else outside."""
        return ONE_USER if "user" in self.stage.new else MANY_USERS

    def script(self, steps: Iterable[Step]) -> scripts.Script:
        """Return the program that takes these steps, to be read, or saved and run by hand.

        Raises:
            SourceMissing: a step is no function that was defined in a cell or a file.

        """
        return scripts.collect(steps)

    def start(
        self,
        steps: Iterable[Step],
        argv: Sequence[str] = ("sleep", "3600"),
        *,
        env: dict[str, str] | None = None,
        stdin: int | None = None,
    ) -> Handmade:
        """Build a container, and return when its program executes.

        Raises:
            StepFailed: the kernel refused a step, or it is wrong; the message says which and why.
            SourceMissing: see `script`.

        """
        made = self._launch(steps, argv, env or {}, stdin)
        made.wait_until_executed()
        return made

    def run(self, steps: Iterable[Step], argv: Sequence[str]) -> Completed:
        """Build a container for one program, and return what it printed.

        Raises:
            StepFailed, SourceMissing: see `start`.

        """
        began = time.monotonic()
        made = self._launch(steps, argv, {}, None)
        code = made.process.wait(PATIENCE_SECONDS)
        if code == FAILED:
            made.wait_until_executed()  # which tells why not
        process = made.process
        return Completed(
            tuple(argv), process.output, process.errors, code, time.monotonic() - began
        )

    def save(
        self, steps: Iterable[Step], argv: Sequence[str], folder: Path | None = None
    ) -> list[str]:
        """Write script and settings into a folder, and return the command that runs them.

        It is for root; an ordinary user puts `unshare --map-root-user` before it.
        """
        folder = self.new_folder() if folder is None else folder
        script, _ = self._write(folder, steps, argv, {}, "")
        script.save(folder / "container.py")
        return [str(folder / "container.py"), str(folder / "config.json")]

    def ask(self, made: Handmade, path: str = "/") -> str:
        """Fetch a page from a server in a container, from outside; wait until it listens.

        Raises:
            TimedOut: it does not answer.

        """
        return self.fetch(f"http://{made.address}{path}")

    def fetch(self, page: str) -> str:
        """Fetch a page from the stage; wait until its server listens.

        Raises:
            TimedOut: it does not answer.

        """
        until = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.stage.run(["busybox", "wget", "-q", "-O", "-", page])).returncode:
            if time.monotonic() > until:
                raise TimedOut(f"{page} does not answer", f"{answer.stderr} {answer.ending}")
            time.sleep(0.05)
        return answer.stdout

    def new_folder(self) -> Path:
        """Make an empty folder, which is removed with the workshop."""
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        return folder

    def settings(self, argv: Sequence[str], env: dict[str, str], journal: str) -> dict[str, Any]:
        """Return what a script finds in its `config.json`."""
        network = f"10.8.{self._count % NETWORKS}"
        return {
            "root": str(self.root),
            "name": self.name,
            "command": list(argv),
            "env": {"PATH": PATH, "HOME": "/root", ownership.VARIABLE: ownership.mark(), **env},
            "inside": f"{network}.2/24",
            "gateway": f"{network}.1/24",
            "users": self.users,
            "cgroup": list(self.cgroup.procs_paths) if self.cgroup else [],
            "kept": capability_mask(self.kept),
            "filter": b"".join(self.filter.programs).hex() if self.filter else "",
            "journal": journal,
        }

    def _write(
        self,
        folder: Path,
        steps: Iterable[Step],
        argv: Sequence[str],
        env: dict[str, str],
        journal: str,
    ) -> tuple[scripts.Script, dict[str, Any]]:
        script, config = self.script(steps), self.settings(argv, env, journal)
        (folder / "container.py").write_text(script.text)
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        return script, config

    def _launch(
        self, steps: Iterable[Step], argv: Sequence[str], env: dict[str, str], stdin: int | None
    ) -> Handmade:
        folder = self.new_folder()
        journal = folder / "journal"
        script, config = self._write(folder, steps, argv, env, str(journal))
        words = [sys.executable, "-I", "-S", "-c", _RUN, _PACKAGE_PARENT]
        asked = time.monotonic()
        self.stage.pid  # noqa: B018 (its PID 1 is there before the script)
        process = self.stage.start(
            [*words, str(folder / "container.py"), str(folder / "config.json")],
            cwd="/",
            stdin=stdin,
        )
        return Handmade(process, journal, script, config, asked)
