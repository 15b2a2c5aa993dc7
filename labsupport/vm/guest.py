"""A guest: boot it, run programs in it, end it.

One loop (`labsupport.vm.mux`) serves the serial line, and runs only while somebody waits for
something: no thread, no polling. The guest ends with its owner, however that one ends (see
`labsupport.ownership.reaper`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import platformdirs

from labsupport.doctor.guest import check, memory_folder
from labsupport.errors import LabError, ProgramNotFound, TimedOut
from labsupport.kernel import proc
from labsupport.kernel.mounts import mounts
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.trace import Completed
from labsupport.vm import gate, mux, uml
from labsupport.vm.mux import Channel, Line, LineClosed, Mux

# The guest's disk: a sparse file on the host without a name. It goes with the last process that has
# it open, which is the guest's, however that one ends. Container images are large, and the guest's
# memory is small.

LARGEST_BYTES = 16 << 30
LEAST_BYTES = 256 << 20  # less is not worth the trouble: memory has as much
_LEFT_TO_OTHERS = 4  # this part of the free space, so that a guest cannot fill the host's disk
_IN_MEMORY = ("tmpfs", "ramfs")


def open_disk() -> int | None:
    """Open a new file and return its descriptor; None where no folder has the space."""
    # it is in the folder for temporary files, or in `/var/tmp` if the first is in memory itself
    folders = [os.environ.get("TMPDIR") or tempfile.gettempdir(), "/var/tmp"]  # noqa: S108
    folders.sort(key=lambda folder: file_system(folder) in _IN_MEMORY)
    for folder in folders:
        if os.access(folder, os.W_OK | os.X_OK) and (size := _size(folder)) >= LEAST_BYTES:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                file.truncate(size)
                return os.dup(file.fileno())
    return None


def _size(folder: str) -> int:
    system = os.statvfs(folder)
    free = system.f_bavail * system.f_frsize
    return min(free - free // _LEFT_TO_OTHERS, LARGEST_BYTES) // 4096 * 4096


def file_system(folder: str) -> str:
    """Return the type of the file system that a folder is on."""
    return mounts().holding(os.path.realpath(folder)).fstype


# These name sockets, folders, users and processes of the host.
_THE_HOSTS = re.compile(
    r"HOME|USER|LOGNAME|MAIL|PWD|OLDPWD|TMPDIR|TEMP|TMP|DISPLAY|JPY_PARENT_PID|KERNEL_.*|SUDO_.*"
    r"|XDG_.*|DBUS_.*|SSH_.*|WAYLAND_.*|DOCKER_.*|CONTAINER_HOST|IPYTHONDIR|JUPYTER_RUNTIME_DIR"
)
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def guest_environment(host: Mapping[str, str]) -> dict[str, str]:
    """Return what programs in the guest find in their environment.

    `LAB_OUTER_…` tell of the kernel that the guest's kernel runs on, which it could not know.
    """
    kept = {key: value for key, value in host.items() if not _THE_HOSTS.fullmatch(key)}
    path = [folder for folder in host.get("PATH", "").split(":") if folder]
    path += [folder for folder in _SYSTEM_PATH if folder not in path]
    return {
        **kept,
        "PATH": ":".join(path),
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "LAB_PLACE": "vm",
        "LAB_IN_VM": "1",
        "LAB_OUTER_KERNEL": os.uname().release,
        "LAB_OUTER_BOOT_ID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "LAB_BASES": host.get("LAB_BASES")
        or str(Path(platformdirs.user_cache_dir("labsupport")) / "bases"),
        "JPY_PARENT_PID": "1",  # never gone: it is the launcher that watches Jupyter
        "IPYTHONDIR": "/run/lab/ipython",
        "JUPYTER_RUNTIME_DIR": "/run/lab/jupyter",
    }


class Program(Channel):
    """A program that has been started in the guest; `status` is there once it has ended.

    `status` is the exit status, or minus the number of the signal that ended it. With a `terminal`
    (its rows and columns) it gets one, and its errors come with its output. `files` are written
    before it starts, for root's eyes only.
    """

    def __init__(
        self, loop: Mux, number: int, argv: Sequence[str], *, env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None, terminal: tuple[int, int] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(loop, number)
        self.argv = tuple(map(os.fspath, argv))
        self.status: int | None = None
        self._failure: ProgramNotFound | None = None
        wishes = {
            "argv": self.argv, "environment": dict(env or {}), "cwd": os.fspath(cwd or "/"),
            "terminal": terminal, "files": dict(files or {}),
        }  # fmt: skip
        self.send(mux.START, json.dumps(wishes).encode())

    @property
    def over(self) -> bool:
        """Whether it has ended. Raises `ProgramNotFound` if it has never begun."""
        if self._failure:
            raise self._failure
        return self.status is not None

    def frame(self, kind: int, payload: bytes) -> None:
        if kind == mux.EXIT:
            self.status = mux.NUMBER.unpack(payload)[0]
            self.close()
        elif kind == mux.FAILED:
            number, said = json.loads(payload)
            why = os.strerror(number) if number else said
            self._failure = ProgramNotFound(f"{self.argv[0]} does not start in the Lab VM", why)
            self.close()
        else:
            super().frame(kind, payload)

    def signal(self, number: int) -> None:
        """Send a signal to the program and those that it has started."""
        self.send(mux.SIGNAL, bytes([number]))


class Captured(Program):
    """A program whose output is kept."""

    def __init__(self, loop: Mux, number: int, argv: Sequence[str], **where: Any) -> None:
        self._output = {mux.DATA: bytearray(), mux.ERRORS: bytearray()}
        super().__init__(loop, number, argv, **where)

    def feed(self, data: bytes) -> None:
        """Let the program read `data`, and then the end of its input."""
        fd = os.memfd_create("input")
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
        self.read_from(fd)

    def source_ended(self, fd: int) -> None:
        super().source_ended(fd)
        os.close(fd)

    def text(self, kind: int) -> str:
        """Return what the program has written: its output (`DATA`) or its errors (`ERRORS`)."""
        return self._output[kind].decode(errors="replace")

    def received(self, kind: int, payload: bytes) -> None:
        self._output[kind] += payload
        self.passed_on(len(payload))
        if len(self._output[kind]) > MOST_OUTPUT:
            self.signal(signal.SIGKILL)
            self.close()
            why = f"it wrote more than {MOST_OUTPUT >> 20} MB"
            raise LabError(f"{self.argv[0]} in the guest", why)


DEFAULT_MEMORY = "1G"
MOST_OUTPUT = 64 << 20  # bytes that are kept of a program
NONSENSE = (ValueError, LookupError, TypeError, OverflowError, RecursionError, struct.error)
POWER_OFF_SECONDS = 2.0
CONSOLE_BYTES = 16 << 10
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class LabVM(Closing):
    """A running guest; use it as a context manager, or `close()` it.

    `release` is its kernel's version. One thread at a time may use it.
    """

    @classmethod
    def boot(
        cls, memory: str = DEFAULT_MEMORY, *, share: Sequence[str | Path] = (),
        slot: gate.Slot | None = None, jailed: bool = False,
    ) -> LabVM:  # fmt: skip
        """Boot a guest with that much memory (`"512M"`, `"1G"`), and wait until it is ready.

        The folders in `share` are the host's own in the guest, under the same path, for reading and
        writing. A `slot` of the start gate is closed by the caller who gives it. Where it is
        `jailed`, what runs in it reaches neither the user's files nor their environment.
        Raises a `LabError` that says what is missing or went wrong.
        """
        guest = cls(_bytes(memory), [_shareable(path) for path in share], jailed)
        try:
            with contextlib.nullcontext(slot) if slot else gate.enter() as here:
                guest._start(here)
        except BaseException:
            guest.close()
            raise
        return guest

    def __init__(self, memory_bytes: int, share: Sequence[str], jailed: bool = False) -> None:
        self.memory_bytes, self.share, self._jailed = memory_bytes, share, jailed
        told = ("PATH", "LANG") if jailed else os.environ
        self._environment = guest_environment(
            {name: os.environ[name] for name in told if name in os.environ}
        )
        self.release = ""
        self._console = bytearray()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._numbers = iter(range(1, 1 << 32))

    def run(
        self, argv: Sequence[str], *, timeout: float = 60,
        input: str = "",  # noqa: A002 (as in subprocess.run)
        env: Mapping[str, str] | None = None, cwd: str | Path | None = None,
    ) -> Completed:  # fmt: skip
        """Run a program in the guest, as root, to its end.

        Raises `ProgramNotFound`, `LabError`, and after `timeout` seconds, when the program has
        been killed, `TimedOut`.
        """
        began = time.monotonic()
        try:
            program = Captured(self.mux, self.number(), argv, env=env, cwd=cwd)
            program.feed(input.encode())
        except LineClosed:  # it had died before
            self._died()
        while not program.over:
            left = began + timeout - time.monotonic()
            if left <= 0:
                program.signal(signal.SIGKILL)
                raise TimedOut(f"{argv[0]} in the guest", f"not done after {timeout:g} s")
            self.turn(left)
        return Completed(
            tuple(argv), program.text(mux.DATA), program.text(mux.ERRORS), program.status or 0,
            time.monotonic() - began,
        )  # fmt: skip

    def close(self) -> None:
        """Power the guest off. Nothing of it is left; may be called twice."""
        if not self._keeper:
            return
        keeper, self._keeper = self._keeper, None
        with contextlib.suppress(LineClosed):
            self.mux.line.send(mux.OFF)
        self._line.shutdown(socket.SHUT_WR)
        try:
            keeper.wait(POWER_OFF_SECONDS)
        except subprocess.TimeoutExpired:
            self._to_keeper.send(b"!")
            keeper.send_signal(signal.SIGCONT)  # somebody may have stopped it
            keeper.wait()
        self._to_keeper.close()
        self.mux.close()
        self._line.close()
        os.close(self._console_fd)

    @property
    def console(self) -> str:
        """The last lines of the guest's console."""
        return self._console.decode(errors="replace").replace("\r", "").strip()

    def turn(self, timeout: float | None = None) -> None:
        """Wait for news from the guest, for `timeout` seconds at most. Raises `LabError`."""
        if not self._keeper:
            raise LabError("the Lab VM is closed")
        try:
            self.mux.turn(timeout)
        except LineClosed:
            self._died()

    def number(self) -> int:
        """Return the number of a new channel."""
        if not self._keeper:
            raise LabError("the Lab VM is closed")
        return next(self._numbers)

    def _start(self, slot: gate.Slot) -> None:
        check(self.memory_bytes)
        jail = uml.jail(self._environment["LAB_BASES"]) if self._jailed else []
        self._line, theirs = socket.socketpair()
        self._to_keeper, keepers = socket.socketpair()
        for end in (self._line, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._console_fd, console = os.pipe()
        for fd in (self._console_fd, console):
            os.set_blocking(fd, False)  # a console that nobody reads must not stop the guest
        disk = open_disk()
        given = [theirs.fileno(), *([] if disk is None else [disk])]
        self._disk = uml.DISK if disk else ""
        with theirs, keepers:
            argv = jail + uml.command(self.memory_bytes, theirs.fileno(), self.share, disk)
            try:
                self._keeper = subprocess.Popen(
                    [*marks.reaping("--guest", f"--cpu={slot.cpu}"), "--", *argv],
                    stdin=keepers.fileno(), stdout=console, stderr=console,
                    env={"TMPDIR": memory_folder(self.memory_bytes), "PATH": os.defpath},
                    pass_fds=given, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(console)
                if disk is not None:
                    os.close(disk)
        self.mux = _Loop(self, Line(self._line.fileno(), window=mux.LINE_WINDOW))
        self.mux.watch(self._console_fd, lambda _events: self._read_console())
        self._await_ready()

    def _await_ready(self) -> None:
        """Wait for as long as the guest computes: a slow machine takes its time over that."""
        began = time.monotonic()
        end, computed = began + uml.MOST_BOOT_SECONDS, 0.0
        while not self._ready:
            self.turn(max(began + uml.BOOT_SECONDS - time.monotonic(), 0))
            if (now := time.monotonic()) > began + uml.BOOT_SECONDS and not self._ready:
                kernels = proc.children(self._keeper.pid) if self._keeper else []
                before, began = computed, now
                computed = sum(proc.cpu_seconds(pid) for pid in kernels)
                if now > end or computed - before < uml.BOOT_SECONDS * uml.LEAST_SHARE:
                    raise uml.died("the Lab VM does not start", self.console)

    def control(self, kind: int, payload: bytes) -> None:
        """Deal with what the guest says about itself."""
        if kind == mux.HELLO:
            self.release = json.loads(payload)["release"]
            wishes = {
                "mounts": [(path, "share", "hostfs", path) for path in self.share],
                "environment": {**self._environment, "LAB_DISK": self._disk},
                # hostfs keeps each file that the guest has read open, until the guest forgets it
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            }
            self.mux.line.send(mux.SETUP, 0, json.dumps(wishes).encode())
        elif kind == mux.READY:
            self._ready = True
        elif kind == mux.FAILED:
            raise LabError("the Lab VM cannot be set up", payload.decode())

    def _read_console(self) -> bool:
        """Take what the console says; tell whether it may say more."""
        try:
            data = os.read(self._console_fd, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            self.mux.unwatch(self._console_fd)
        self._console = (self._console + data)[-CONSOLE_BYTES:]
        return bool(data)

    def _died(self) -> NoReturn:
        if self._keeper:
            self._keeper.wait()  # it ends the rest of the guest first
        while self._read_console():
            pass
        raise uml.explain(self.console, bool(self.release))


class _Loop(Mux):
    """The guest's loop; what no channel claims is about the guest itself."""

    def __init__(self, guest: LabVM, line: Line) -> None:
        super().__init__(line)
        self._guest = guest

    def _receive(self) -> None:
        try:
            super()._receive()
        except NONSENSE as error:  # root in the guest may write to the line
            raise LabError("the Lab VM does not speak as it should", str(error)) from error

    def unclaimed(self, kind: int, number: int, payload: bytes) -> None:
        if number == 0:
            self._guest.control(kind, payload)


def _bytes(memory: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG])", memory.strip().upper())
    if not match:
        raise LabError(f"unknown amount of memory {memory!r}", "", 'write it as "512M" or "1G"')
    return int(match[1]) * _UNITS[match[2]]


def _shareable(path: str | Path) -> str:
    """Return the folder's real path. The root itself is not shared: writes to it must vanish."""
    real = Path(path).resolve()
    if not real.is_dir():
        raise LabError(f"{path} cannot be shared with the Lab VM", "it is not a folder")
    if real == Path("/"):
        raise LabError("/ cannot be shared with the Lab VM", "all of it would be writable")
    return str(real)
