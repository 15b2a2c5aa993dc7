"""The guest's end of the line: starts programs, joins sockets, reaps, and powers off at its end."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import struct
import termios
import time

from labsupport.kernel import syscalls
from labsupport.vm import mux
from labsupport.vm.mux import Channel, Connection, Line, LineClosed, Mux

RETRY_SECONDS = 0.01
LOOK_SECONDS = 1.0
# More than fit into a guest's memory: a host that allows so many open files need not be watched.
ALL_INODES = 250_000
# The host must hear that its bytes were read before its window (mux.LINE_WINDOW) is full.
ACKNOWLEDGE = 1024
_O_RDWR = os.O_RDWR | os.O_CLOEXEC
TYPE_CHECKING = False  # type checkers assume that it is true; importing typing takes 40 ms here
if TYPE_CHECKING:
    from typing import Any


def serve(device: str) -> None:
    """Serve the line until the host says `OFF` or has gone."""
    fd = os.open(device, _O_RDWR | os.O_NOCTTY)
    if os.isatty(fd):
        _make_raw(fd)
    agent = Agent(Line(fd, acknowledge=ACKNOWLEDGE))
    try:
        agent.line.send(mux.HELLO, 0, json.dumps({"release": os.uname().release}).encode())
        while not agent.off:
            agent.turn(agent.patience())
            agent.knock()
            agent.let_go_of_files()
    except LineClosed:
        pass


def _make_raw(fd: int) -> None:
    """Switch every kind of processing off, so that each byte comes as it was sent; termios(3)."""
    mode = termios.tcgetattr(fd)
    mode[0] = mode[1] = mode[3] = 0
    mode[2] = termios.CS8 | termios.CREAD | termios.CLOCAL | termios.B38400
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


class Agent(Mux):
    """The loop, with the programs that run and the sockets that are not there yet."""

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self.off = False
        self.programs: dict[int, Program] = {}
        self.knocking: list[Door] = []
        self._environment = {"PATH": os.defpath}
        self._most_inodes = 0
        self._next_look = 0.0
        self.hear([signal.SIGCHLD], self._reap)

    def unclaimed(self, kind: int, number: int, payload: bytes) -> None:
        """Deal with the host's wishes: set up, start a program, join a socket, power off."""
        if kind == mux.SETUP:
            self._set_up(json.loads(payload))
        elif kind == mux.OFF:
            self.off = True
        elif kind == mux.START:
            self._start(number, json.loads(payload))
        elif kind == mux.CONNECT:
            self.knocking.append(Door(self, number, payload.decode()))

    def knock(self) -> None:
        """Try once more to connect to the sockets that were not there yet."""
        self.knocking = [door for door in self.knocking if not door.opens()]

    def patience(self) -> float | None:
        """How long to wait for news, in seconds."""
        if self.knocking:
            return RETRY_SECONDS
        return LOOK_SECONDS if self._most_inodes else None

    def let_go_of_files(self) -> None:
        """Forget cached inodes before the host's limit of open files is reached.

        hostfs keeps a file of the host open for each inode that has been read, as long as the guest
        has memory to remember it.
        """
        if not self._most_inodes or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        with open("/proc/sys/fs/inode-nr") as file:
            inodes = int(file.read().split()[0])
        if inodes > self._most_inodes:
            with open("/proc/sys/vm/drop_caches", "w") as file:
                file.write("3")

    def _set_up(self, wishes: dict[str, Any]) -> None:
        self._environment = dict(wishes["environment"])
        if wishes["open_files"] < ALL_INODES:
            self._most_inodes = wishes["open_files"] // 2
        try:
            for path, source, fstype, options in wishes["mounts"]:
                os.makedirs(path, exist_ok=True)
                syscalls.mount(source, path, fstype, 0, options)
        except OSError as error:
            self.line.send(mux.FAILED, 0, f"mounting {path}: {error.strerror}".encode())
        else:
            self.line.send(mux.READY)

    def _start(self, number: int, wishes: dict[str, Any]) -> None:
        try:
            program = Program(self, number, wishes, self._environment)
        except OSError as error:
            self.line.send(mux.FAILED, number, json.dumps([error.errno, str(error)]).encode())
        else:
            self.programs[program.pid] = program

    def _reap(self, _signal: int) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            program = self.programs.pop(pid, None)  # others are orphans, left to process 1
            if program:
                program.exited(os.waitstatus_to_exitcode(status))


class Door(Connection):
    """A connection to a Unix socket in the guest, which may take a while to appear."""

    def __init__(self, agent: Agent, number: int, path: str) -> None:
        super().__init__(agent, number)
        self.path = path

    def opens(self) -> bool:
        """Try to connect; tell whether that is settled."""
        if self.mux.channels.get(self.number) is not self:
            return True  # the host has given up
        knocker = socket.socket(socket.AF_UNIX)
        try:
            knocker.connect(self.path)
        except OSError as error:
            knocker.close()
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                return False
            raise
        knocker.setblocking(False)
        self.send(mux.OPENED)
        fd = knocker.detach()
        self.read_from(fd)
        self.write_to(fd)
        return True

    def frame(self, kind: int, payload: bytes) -> None:
        """Deal with a frame; the end of a connection that is not there is the end of it all."""
        super().frame(kind, payload)
        if kind == mux.END and self.sink is None:
            self.close()


class Program(Channel):
    """A program, with pipes or a terminal of its own."""

    def __init__(
        self, agent: Agent, number: int, wishes: dict[str, Any], environment: dict[str, str]
    ) -> None:
        size = wishes["terminal"]
        for path, text in wishes["files"].items():
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
        ours, theirs = _terminal(*size) if size else _pipes()
        try:
            self.pid = _spawn(wishes, {**environment, **wishes["environment"]}, theirs)
        except OSError:
            _close(ours)
            raise
        finally:
            _close(theirs)
        super().__init__(agent, number)
        self.status: int | None = None
        self.terminal = ours[0] if size else None
        self.send(mux.OPENED, mux.NUMBER.pack(self.pid))
        for fd in ours:
            os.set_blocking(fd, False)
        self.write_to(ours[0])
        if size:
            self.read_from(ours[0])
        else:
            self.read_from(ours[1])
            self.read_from(ours[2], mux.ERRORS)

    def frame(self, kind: int, payload: bytes) -> None:
        if kind == mux.SIGNAL:
            if self.status is None:
                os.killpg(self.pid, payload[0])
        elif kind == mux.RESIZE:
            if self.terminal is not None:
                _resize(self.terminal, *mux.PAIR.unpack(payload))
        else:
            super().frame(kind, payload)
            if kind == mux.CREDIT:
                self._finish()

    def exited(self, status: int) -> None:
        """Note the end: what is in the pipes is still passed on, then the host is told."""
        self.status = status
        self._finish()

    def source_ended(self, fd: int) -> None:
        """Close what is at its end, unless it is a terminal, which is written to as well."""
        super().source_ended(fd)
        if fd != self.terminal:
            os.close(fd)

    def sink_ended(self) -> None:
        """Close the program's standard input, but not a terminal: Ctrl-D ends that."""
        if self.sink is not None and self.sink != self.terminal:
            os.close(self.sink)
            self.sink = None

    def _finish(self) -> None:
        """Say that the program has ended, once there is nothing left to read.

        A pipe may outlive its program, held open by one that it left in the background: what that
        program writes later is discarded.
        """
        if self.status is None:
            return
        for fd in list(self.sources):
            while fd in self.sources and self.read_some(fd):
                pass
        if self._credit:
            self.send(mux.EXIT, mux.NUMBER.pack(self.status))
            self.close()


def _spawn(wishes: dict[str, Any], environment: dict[str, str], fds: tuple[int, ...]) -> int:
    """Start a program in a session of its own; posix_spawn(3) copies no page table, fork would."""
    argv = wishes["argv"]
    if wishes["terminal"]:  # a session's leader gets the first terminal that it opens as its own
        name = os.ttyname(fds[0])
        actions: list[Any] = [(os.POSIX_SPAWN_OPEN, fd, name, os.O_RDWR, 0) for fd in range(3)]
    else:
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
    os.environ["PATH"] = environment["PATH"]  # where posix_spawnp looks
    os.chdir(wishes["cwd"])
    try:
        return os.posix_spawnp(
            argv[0], argv, environment, file_actions=actions, setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )  # fmt: skip
    finally:
        os.chdir("/")


def _pipes() -> tuple[tuple[int, ...], tuple[int, ...]]:
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = (os.pipe() for _ in range(3))
    return (to_stdin, from_stdout, from_stderr), (stdin, stdout, stderr)


def _terminal(rows: int, columns: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ours, theirs = os.openpty()
    _resize(ours, rows, columns)
    return (ours,), (theirs,)


def _resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
