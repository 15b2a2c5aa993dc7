"""How each entrant of the race is started, measured and stopped.

A runner is prepared once (an environment is made, an image is loaded), then started as often as
asked; `start()` returns when the app's first answer is there.
"""

import functools
import json
import os
import secrets
import select
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar

from labsupport.doctor.machine import probe
from labsupport.errors import LabError, ProcessGone, TimedOut
from labsupport.kernel import proc
from labsupport.kernel.procfs import processes, status_fields
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox

Pids = Callable[[], Sequence[int]]
UNTOUCHED = "untouched"


@dataclass(frozen=True)
class Entrant:
    """One way to run the app, and what it took.

    `starts` are seconds to the first answer, one for each start; `memory` bytes at each of them.
    `disk_bytes` are the files that it brings, `borrowed_bytes` those of the host's that it runs.
    `page` is what the app said, `why_not` why it said nothing. `held` tells for each of the six
    walls whether it held, in the order of the matrix.
    """

    name: str
    why_not: str = ""
    starts: tuple[float, ...] = ()
    memory: tuple[int, ...] = ()
    disk_bytes: int = 0
    borrowed_bytes: int = 0
    disk_words: str = ""
    set_up_seconds: float = 0.0
    set_up_words: str = ""
    page: Mapping[str, Any] = field(default_factory=dict)
    held: tuple[bool, ...] = ()

    @property
    def seconds(self) -> float:
        """The median of its starts, in seconds; 0 if there is none yet."""
        return statistics.median(self.starts) if self.starts else 0.0

    @property
    def walls(self) -> tuple[bool, ...]:
        """Whether each wall held; raises `LabError` if it has not run."""
        if not self.held:
            raise LabError(f"{self.name}: it has not run", self.why_not)
        return self.held

    @property
    def memory_bytes(self) -> float:
        """The median of the memory that it took; 0 if that is not known."""
        return statistics.median(self.memory) if self.memory else 0.0


def time_in_words(seconds: float) -> str:
    """Write a time: `42 ms`, `1.9 s`, `23 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


class Bait:
    """What the app tries to get at: a file to read, one to change, a process to find and to end.

    Whether it got at them is not taken from its words alone: the host looks afterwards. It makes a
    folder, where the app lies as well, and a process; both go with `close()`, or with this process.
    """

    def __init__(self) -> None:
        self._ours = tempfile.TemporaryDirectory(prefix=marks.prefix("race"))
        self.folder = Path(self._ours.name)
        self.app = self.folder / "app.py"
        self.secret = secrets.token_hex(8)
        self.token = f"victim-{secrets.token_hex(6)}"
        self.note = self.folder / "note.txt"
        self._victim: subprocess.Popen[bytes] | None = None

    def lay(self) -> list[str]:
        """Lay all of it out again; return the app's arguments."""
        self.end_victim()
        hidden = self.folder / "secret.txt"
        hidden.write_text(self.secret)
        self.note.write_text(UNTOUCHED)
        # it ends with its input, so it never outlives us
        argv = ["sh", "-c", f"read line # {self.token}"]
        self._victim = subprocess.Popen(argv, env=marks.environment(), stdin=subprocess.PIPE)
        return [str(hidden), str(self.note), str(self._victim.pid)]

    def is_ended(self, expected: bool) -> bool:
        """Whether the process has ended; a moment is given to one that is expected to."""
        if self._victim is None:
            return False
        if expected:
            with suppress(subprocess.TimeoutExpired):
                self._victim.wait(2)
        return self._victim.poll() is not None

    def end_victim(self) -> None:
        """End the process, if it still runs."""
        if self._victim:
            self._victim.communicate()
            self._victim = None

    def close(self) -> None:
        """Remove all of it; may be called twice."""
        self.end_victim()
        self._ours.cleanup()


PYTHON = os.path.realpath(sys.executable)
SECONDS = 60.0


@functools.cache
def borrowed_bytes() -> int:
    """How large the host's Python is, which some run: its program and its standard library."""
    library = Path(sysconfig.get_path("stdlib"))
    installed = ("site-packages", "dist-packages", "__pycache__")
    files = [Path(PYTHON)]
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in installed]
        files += [Path(folder, name) for name in names]
    return size_of(files)


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes in files; a link is as large as what it says."""
    return sum(path.lstat().st_size for path in paths if path.is_symlink() or path.is_file())


class Runner(ABC):
    """One way to run the app.

    `set_up_seconds` is what preparing it took, `disk_bytes` the files that it brings, and
    `borrowed_bytes` those of the host's that it runs; `answer` is what the app said last,
    `memory_bytes` what all its processes held in memory then, in proportion where they share it
    (`Pss` in proc_pid_smaps(5); 0 where we may not read it). `needs` is what the machine must have,
    in the words of `./lab doctor`.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    set_up_words: ClassVar[str] = ""
    disk_words: ClassVar[str] = "the app; it runs the host's Python"

    def __init__(self, bait: Bait) -> None:
        self.bait = bait
        self.set_up_seconds, self.disk_bytes, self.memory_bytes = 0.0, 0, 0
        self.answer: Mapping[str, Any] = {}
        self.ends = ExitStack()
        """What `stop()` does: what `_start` has begun puts its end there."""

    @classmethod
    def why_not(cls) -> str:
        """Tell why it cannot run on this machine; "" if it can."""
        return next((no.reason for no in probe().missing(*cls.needs).values()), "")

    @property
    def borrowed_bytes(self) -> int:
        """The host's files that it runs, in bytes."""
        return borrowed_bytes()

    def prepare(self) -> None:
        """Make what has to be made once, and note what that takes."""
        began = time.monotonic()
        self.disk_bytes = self._prepare() + size_of([self.bait.app])
        self.set_up_seconds = time.monotonic() - began

    def start(self) -> float:
        """Start the app; return the seconds until its first answer. It runs until `stop()`.

        Raises `LabError`: no answer came; the message has the app's words.
        """
        arguments = self.bait.lay()
        began = time.monotonic()
        answer, pids = self._start(arguments)
        seconds = time.monotonic() - began
        self.answer = json.loads(answer)
        self.memory_bytes = 0
        for pid in pids():
            with suppress(OSError, IndexError):
                self.memory_bytes += proc.pss(proc.read(pid, "smaps_rollup"))
        return seconds

    def walls(self, hostname: str, boot_id: str) -> tuple[bool, ...]:
        """Tell which of the six walls held, by looking at the host's side of them."""
        told = self.answer
        return (
            str(told["read"]).strip() != self.bait.secret,
            self.bait.note.read_text() == UNTOUCHED,
            self.bait.token not in str(told["see"]),
            not self.bait.is_ended(expected=told["end"] is None),
            told["hostname"] != hostname,
            told["boot_id"] != boot_id,
        )

    def _prepare(self) -> int:
        """Return how many bytes on the disk it takes, without the app."""
        return 0

    @abstractmethod
    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        """Start it; return its first line, and what tells the processes that are there for it."""

    def _no_answer(self, said: str) -> LabError:
        return LabError(f"{self.name}: the app did not answer", said[-300:])

    def stop(self) -> None:
        """End it; may be called twice."""
        self.ends.close()

    def close(self) -> None:
        """End it, and remove what was prepared."""
        self.stop()


def read_answer(output: IO[bytes]) -> str:
    """Read what a program writes, up to the first whole line that is the app's; "" for none."""
    data, until = b"", time.monotonic() + SECONDS
    while (left := until - time.monotonic()) > 0 and select.select([output], [], [], left)[0]:
        if not (piece := os.read(output.fileno(), 1 << 16)):
            break
        data += piece
        for line in data.splitlines(keepends=True):
            if line.startswith(b"{") and line.endswith(b"\n"):
                return line.decode()
    return ""


# --- entrants that run the host's own Python ----------------------------------------------------


class AsProcess(Runner):
    """An ordinary process. It ends with its input, so it never outlives us."""

    name = "process"
    python = PYTHON

    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        # -I: without what this notebook's own environment would add
        argv = [self.python, "-I", str(self.bait.app), *arguments]
        pipe, env = subprocess.PIPE, marks.environment()
        process = subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
        self.ends.callback(process.communicate)
        assert process.stdout  # noqa: S101 (a pipe)
        if answer := read_answer(process.stdout):
            return answer, lambda: [process.pid]
        process.kill()
        raise self._no_answer(process.communicate()[1].decode())


class InEnvironment(AsProcess):
    """A process in a virtual environment of its own, without any package yet."""

    name = "virtual environment"
    set_up_words = "python -m venv"
    disk_words = "the app, and links to the host's Python"

    def _prepare(self) -> int:
        folder = self.bait.folder / "environment"
        argv = [PYTHON, "-m", "venv", "--without-pip", str(folder)]
        env = marks.environment()
        made = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if made.returncode:
            raise LabError(f"{self.name}: it was not made", (made.stdout + made.stderr).strip())
        self.python = str(folder / "bin/python")
        return size_of(folder.rglob("*"))


class InSandbox(Runner):
    """Namespaces around a process: its own processes, mounts and name; the files are the host's."""

    name = "our sandbox"
    needs = ("ns.pid", "ns.mount", "ns.uts", "ns.ipc")

    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        box = Sandbox(new={"pid", "mount", "uts", "ipc"}, hostname="sandbox")
        self.ends.enter_context(box)
        reading, writing = os.pipe()
        self.ends.callback(os.close, writing)
        try:
            process = box.start([PYTHON, "-I", str(self.bait.app), *arguments], stdin=reading)
        finally:
            os.close(reading)
        try:
            process.expect("\n", timeout=SECONDS)
        except (ProcessGone, TimedOut) as error:
            raise self._no_answer(str(error)) from error
        return process.output, lambda: [each.pid for each in processes(of=box)]


# --- entrants with files or a kernel of their own: a container, and a virtual machine -------------

MEMORY = "128M"
MEMORY_BYTES = 128 << 20


class InContainer(Runner):
    """A container of the engine, from an image with Debian and Python (the one of notebook 11)."""

    name = "container"
    needs = ("engine",)
    set_up_words = "load the image"
    disk_words = "the app, and an image with Debian and Python"
    borrowed_bytes = 0
    engine: Any = None

    @classmethod
    def why_not(cls) -> str:
        return super().why_not() or _no_image()

    def _prepare(self) -> int:
        from labsupport.build.bases import app_base
        from labsupport.engine.client import Engine

        self.engine = Engine.connect()
        self.image = app_base(self.engine)
        return int(self.image.attrs["Size"])

    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        from labsupport.engine.listing import owner_labels, remove

        # its input is ours: when we end, it ends, and auto_remove takes it away
        container = self.engine.client.containers.create(
            self.image, ["python3", "-I", "-c", self.bait.app.read_text(), *arguments],
            entrypoint=[], stdin_open=True, network_mode="none", labels=owner_labels(),
            auto_remove=True,
        )  # fmt: skip
        self.ends.callback(remove, container, force=True)
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        connection = container.attach_socket(params=streams)
        self.ends.callback(connection.close)
        container.start()
        answer = self._first_line(getattr(connection, "_sock", connection))
        return answer, lambda: _with_shim(container)

    def _first_line(self, connection: Any) -> str:
        """Read it out of an attached container's stream, whose frames have heads of 8 bytes."""
        connection.settimeout(SECONDS)
        data = b""
        with connection.makefile("rb") as stream:
            while b"\n" not in data:
                if not (head := stream.read(8)):
                    raise self._no_answer(data.decode())
                data += stream.read(int.from_bytes(head[4:], "big"))
        return data.decode()

    def close(self) -> None:
        super().close()
        if self.engine:
            self.engine.close()
            self.engine = None


def _with_shim(container: Any) -> Sequence[int]:
    """Return the app, and the shim that the engine keeps for each container."""
    container.reload()
    first = int(container.attrs["State"]["Pid"])
    shim = int(status_fields(first)["PPid"]) if Path(f"/proc/{first}").exists() else 0
    return [pid for pid in (first, shim) if pid > 1]


# What the machine starts first, and only: the app. Its input never ends, since neither may this.
INIT = """\
import ctypes, os, runpy, sys
ctypes.CDLL(None).mount(b"proc", b"/proc", b"proc", 0, None)
os.dup2(os.pipe()[0], 0)
sys.argv = {arguments!r}
runpy.run_path("/app.py")
"""


class InVirtualMachine(Runner):
    """A virtual machine: User-Mode Linux, a kernel that is an ordinary program of the host's.

    Its disk is a folder with the container's files, and nothing else of the host's can be mounted
    in it (`hostfs=`); so it has the app and its Python, and no program is started but these.
    """

    name = "virtual machine"
    needs: ClassVar[tuple[str, ...]] = ("vm",)
    set_up_words = "unpack its disk"
    disk_words = "the app, a kernel, and the same Debian and Python"
    borrowed_bytes = 0

    @classmethod
    def why_not(cls) -> str:
        if probe().place == "vm":
            return "this notebook is in a virtual machine already (the Lab VM)"
        return super().why_not() or _no_image()

    def _prepare(self) -> int:
        from labsupport.build.bases import find_archive
        from labsupport.doctor.guest import find_kernel

        self.kernel, self.disk = find_kernel(), self.bait.folder / "disk"
        self.disk.mkdir()
        unpack = 'tar -xO -f "$1" layer.tar | tar -x --no-same-owner -C "$2"'
        argv = ["sh", "-euc", unpack, "sh", str(find_archive()), str(self.disk)]
        subprocess.run(argv, check=True, capture_output=True)
        shutil.copy(self.bait.app, self.disk)
        return size_of([self.kernel, *self.disk.rglob("*")])

    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        from labsupport.doctor.guest import memory_folder
        from labsupport.vm.uml import QUICKLY

        (self.disk / "init.py").write_text(INIT.format(arguments=["app.py", *arguments]))
        root = ("rootfstype=hostfs", f"hostfs={self.disk}", "rootflags=/", "ro", "quiet")
        first = ("init=/usr/bin/python3", "--", "-I", "/init.py")
        argv = [str(self.kernel), f"mem={MEMORY}", *root, "con=null", "con0=null,fd:1", *QUICKLY]
        machine = subprocess.Popen(
            [*marks.reaping("--guest", "--"), *argv, *first],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"TMPDIR": memory_folder(MEMORY_BYTES), "PATH": os.defpath},
        )  # fmt: skip
        self.ends.callback(_end, machine)
        assert machine.stdout  # noqa: S101 (a pipe)
        if answer := read_answer(machine.stdout):
            return answer, lambda: _descendants(machine.pid)
        raise self._no_answer(_end(machine))

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.bait.folder / "disk", ignore_errors=True)


RUNNERS: tuple[type[Runner], ...] = (
    AsProcess, InEnvironment, InSandbox, InContainer, InVirtualMachine,
)  # fmt: skip


def _end(machine: subprocess.Popen[bytes]) -> str:
    """End it at once, since it does not power itself off; return its errors. Twice is once."""
    return "" if machine.stdin and machine.stdin.closed else machine.communicate(b"!")[1].decode()


def _no_image() -> str:
    from labsupport.build.bases import find_archive

    return "" if find_archive() else "the image is not here (./lab base makes it)"


def _descendants(pid: int) -> list[int]:
    return [found for child in proc.children(pid) for found in (child, *_descendants(child))]
