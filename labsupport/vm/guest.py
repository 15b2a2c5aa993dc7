"""A guest: boot it, run programs in it, end it.

One loop (`labsupport.vm.mux`) serves the serial line, and runs only while somebody waits for
something: no thread, no polling. The guest ends with its owner, however that one ends (see
`labsupport.vm.keeper`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from labsupport.closing import Closing
from labsupport.completed import Completed
from labsupport.errors import BadAmount, GuestClosed, GuestDied, ShareRefused, TimedOut
from labsupport.vm import gate, mux
from labsupport.vm.backends import Backend, find_backend
from labsupport.vm.disk import open_disk
from labsupport.vm.environment import guest_environment
from labsupport.vm.mux import Line, LineClosed, Mux
from labsupport.vm.programs import Captured

DEFAULT_MEMORY = "512M"
POWER_OFF_SECONDS = 2.0
CONSOLE_BYTES = 16 << 10
_LEAN = Path(__file__).with_name("lean.py")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class LabVM(Closing):
    """A running guest; use it as a context manager, or `close()` it.

    `release` is its kernel's version. One thread at a time may use it.
    """

    @classmethod
    def boot(
        cls,
        memory: str = DEFAULT_MEMORY,
        backend: str = "uml",
        *,
        share: Sequence[str | Path] = (),
        slot: gate.Slot | None = None,
    ) -> LabVM:
        """Boot a guest with so much memory (`"512M"`, `"1G"`), and wait until it is ready.

        The folders in `share` are the host's own in the guest, under the same path, for reading and
        writing. A `slot` of the start gate is released by the caller who gives it.
        Raises a `LabError` that says what is missing or went wrong.
        """
        guest = cls(_bytes(memory), find_backend(backend), [_shareable(path) for path in share])
        try:
            if slot:
                guest._start(slot)
            else:
                with gate.enter() as own:
                    guest._start(own)
        except BaseException:
            guest.close()
            raise
        return guest

    def __init__(self, memory_bytes: int, backend: Backend, share: Sequence[str]) -> None:
        self.memory_bytes, self.backend, self.share = memory_bytes, backend, share
        self.release = ""
        self._console = bytearray()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._numbers = iter(range(1, 1 << 32))

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        input: str = "",  # noqa: A002 (as in subprocess.run)
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> Completed:
        """Run a program in the guest, as root, to its end.

        Raises `ProgramNotFound`, `GuestDied`, and after `timeout` seconds, when the program has
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
            tuple(argv),
            program.text(mux.DATA),
            program.text(mux.ERRORS),
            program.status or 0,
            time.monotonic() - began,
        )

    def close(self) -> None:
        """Power the guest off. Nothing of it is left; twice is once."""
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
        """Wait for news from the guest, for `timeout` seconds at most. Raises `GuestDied`."""
        if not self._keeper:
            raise GuestClosed("the Lab VM is closed")
        try:
            self.mux.turn(timeout)
        except LineClosed:
            self._died()

    def number(self) -> int:
        """Return the number of a new channel."""
        if not self._keeper:
            raise GuestClosed("the Lab VM is closed")
        return next(self._numbers)

    def _start(self, slot: gate.Slot) -> None:
        self.backend.check(self.memory_bytes)
        self._line, theirs = socket.socketpair()
        self._to_keeper, keepers = socket.socketpair()
        for end in (self._line, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._console_fd, console = os.pipe()
        for fd in (self._console_fd, console):
            os.set_blocking(fd, False)  # a console that nobody reads must not stop the guest
        disk = open_disk()
        given = [theirs.fileno(), *([] if disk is None else [disk])]
        self._disk = self.backend.disk if disk else ""
        with theirs, keepers:
            argv = self.backend.command(self.memory_bytes, theirs.fileno(), self.share, disk)
            lean = [sys.executable, "-I", "-S", str(_LEAN), "labsupport.vm.keeper"]
            try:
                self._keeper = subprocess.Popen(
                    [*lean, str(os.getpid()), str(slot.cpu) if self.backend.pinned else "-", *argv],
                    stdin=keepers.fileno(),
                    stdout=console,
                    stderr=console,
                    env=self.backend.environment(self.memory_bytes),
                    pass_fds=given,
                    start_new_session=True,
                )
            finally:
                os.close(console)
                if disk is not None:
                    os.close(disk)
        self.mux = _Loop(self, Line(self._line.fileno(), window=mux.LINE_WINDOW))
        self.mux.watch(self._console_fd, lambda _events: self._read_console())
        self._await_ready(time.monotonic() + self.backend.boot_seconds)

    def _await_ready(self, until: float) -> None:
        while not self._ready:
            self.turn(max(until - time.monotonic(), 0))
            if time.monotonic() > until:
                raise GuestDied("the Lab VM does not start", self.console)

    def control(self, kind: int, payload: bytes) -> None:
        """Deal with what the guest says about itself."""
        if kind == mux.HELLO:
            self.release = json.loads(payload)["release"]
            wishes = {
                "mounts": self.backend.mounts(self.share),
                "environment": {**guest_environment(os.environ), "LAB_DISK": self._disk},
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                if self.backend.keeps_files_open
                else sys.maxsize,
            }
            self.mux.line.send(mux.SETUP, 0, json.dumps(wishes).encode())
        elif kind == mux.READY:
            self._ready = True
        elif kind == mux.FAILED:
            raise ShareRefused("the Lab VM cannot be set up", payload.decode())

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
        raise self.backend.explain(self.console, bool(self.release))


class _Loop(Mux):
    """The guest's loop; what no channel claims is about the guest itself."""

    def __init__(self, guest: LabVM, line: Line) -> None:
        super().__init__(line)
        self._guest = guest

    def unclaimed(self, kind: int, number: int, payload: bytes) -> None:
        if number == 0:
            self._guest.control(kind, payload)


def _bytes(memory: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG])", memory.strip().upper())
    if not match:
        raise BadAmount(f"unknown amount of memory {memory!r}", "", 'write it as "512M" or "1G"')
    return int(match[1]) * _UNITS[match[2]]


def _shareable(path: str | Path) -> str:
    """Return the folder's real path. The root itself is not shared: writes to it must vanish."""
    real = Path(path).resolve()
    if not real.is_dir():
        raise ShareRefused(f"{path} cannot be shared with the Lab VM", "it is no folder")
    if real == Path("/"):
        raise ShareRefused("/ cannot be shared with the Lab VM", "it would all be writable")
    return str(real)
