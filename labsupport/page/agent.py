"""The first Python of the page's guest: it starts kernels, and carries their messages.

All goes over one line, the virtio console. A frame is the length of its payload (4 bytes, big
endian), a channel (2 bytes) and the payload. Channel 0 is ours and holds JSON; each other one is
that of a kernel, which is a fork of this process: what has been imported here is there at once.

v86 drops what it is given when the guest has posted no buffer, so the page sends little at a time
and waits until we say how many bytes we have read.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import time
import traceback
import tty
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, Protocol

from labsupport.course import progress

HEADER = Struct(">IH")
LINE = "/dev/hvc0"
CHUNK = 1 << 16
RNDRESEEDCRNG = 0x5207
"""linux/random.h: what is random differs in each machine that was restored from the same state."""


class Frames:
    """Frames over a file descriptor, in both directions."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._in = bytearray()

    def send(self, channel: int, payload: bytes) -> None:
        """Write a frame; returns when all of it is written."""
        left = memoryview(HEADER.pack(len(payload), channel) + payload)
        while left:
            left = left[os.write(self.fd, left) :]

    def receive(self) -> Iterator[tuple[int, bytes]]:
        """Read once, and yield the frames that are complete. Raises `EOFError`: it is closed."""
        data = os.read(self.fd, CHUNK)
        if not data:
            raise EOFError
        self._in += data
        while len(self._in) >= HEADER.size:
            length, channel = HEADER.unpack_from(self._in)
            end = HEADER.size + length
            if len(self._in) < end:
                return
            payload = bytes(self._in[HEADER.size : end])
            del self._in[:end]
            yield channel, payload

    def receive_counted(self) -> tuple[int, list[tuple[int, bytes]]]:
        """Read once; return how many bytes that were, and the frames that are complete."""
        before = len(self._in)
        frames = list(self.receive())
        used = sum(HEADER.size + len(payload) for _, payload in frames)
        return len(self._in) - before + used, frames


class Kernel(Protocol):
    """What a fork of the agent becomes: `labsupport.page.kernel.PageKernel` is one."""

    def run(self, sock: socket.socket) -> None:
        """Be the kernel at the other end of a socket; an empty frame says that it is ready."""

    def prepare(self) -> None:
        """Do what the first kernel has done before anybody asks for it."""

    def rehearse(self) -> None:
        """Do once what notebooks do."""

    def start_engine(self) -> None:
        """Start the machine's container engine, and use it once."""


Running = tuple[int, Frames, socket.socket]
"""A kernel's PID, and our end of its socket."""


class Agent:
    """The process behind the line, which starts kernels."""

    def __init__(self, fd: int, kernel: Kernel) -> None:
        self.line = Frames(fd)
        self.kernel = kernel
        self.kernels: dict[int, Running] = {}
        self.prepared: list[Running] = []

    def tell(self, **words: Any) -> None:
        """Say something about the machine itself."""
        self.line.send(0, json.dumps(words).encode())

    def serve(self) -> None:
        """Carry messages for as long as the machine runs.

        The first kernel is there before it is asked for, so that it is in the saved state.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        first = self._fork(self.kernel.prepare)
        list(first[1].receive())
        self.prepared.append(first)
        self.tell(up=True)
        while True:
            fds = {frames.fd: channel for channel, (_, frames, _) in self.kernels.items()}
            ready = select.select([self.line.fd, *fds], [], [])[0]
            if self.line.fd in ready:
                self._take()
                continue  # an order may have ended a kernel, and its descriptor be another's
            for fd in ready:
                self._pass_on(fds[fd])

    def _take(self) -> None:
        read, frames = self.line.receive_counted()
        self.tell(read=read)
        for channel, payload in frames:
            if channel == 0:
                self._obey(**json.loads(payload))
            elif channel in self.kernels:
                self.kernels[channel][1].send(channel, payload)

    def _obey(
        self, order: str, channel: int = 0, at: float = 0, text: str = "", size: int = 0
    ) -> None:
        if order == "clock":
            time.clock_settime(time.CLOCK_REALTIME, at)
            with open("/dev/urandom") as device:
                fcntl.ioctl(device, RNDRESEEDCRNG)
        elif order == "rehearse":
            self._rehearse()
        elif order == "engine":
            self._start_engine()
        elif order == "start":
            self._end(channel)
            self._start(channel)
        elif order == "interrupt" and channel in self.kernels:
            os.kill(self.kernels[channel][0], signal.SIGINT)
        elif order == "end":
            self._end(channel)
        elif order == "progress":
            self._exchange(text, size)

    def _exchange(self, text: str, size: int) -> None:
        """Take the student's progress, which the page has kept, or tell it if it is not `size`."""
        file = progress.file()
        if text:
            file.write_text(text)
        elif file.exists() and file.stat().st_size != size:
            self.tell(progress=file.read_text())

    def _rehearse(self) -> None:
        """Do what notebooks do, in a process that runs when no other one wants to; sched(7).

        A machine that has just been restored interprets all code. What has run often enough is
        translated, for whoever runs it, and is three times as fast.
        """
        if (pid := os.fork()) == 0:
            try:
                if os.fork() == 0:
                    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                    self.kernel.rehearse()
            finally:
                os._exit(0)  # or a second agent would read the line
        os.waitpid(pid, 0)  # the first process of the machine waits for the other one

    def _start_engine(self) -> None:
        """Have an engine in the state that is saved next; nobody has asked for a kernel by then."""
        if (pid := os.fork()) == 0:
            try:
                self.kernel.start_engine()
                os._exit(0)
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(1)
        self.tell(engine=True, status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def _start(self, channel: int) -> None:
        self.kernels[channel] = self.prepared.pop() if self.prepared else self._fork()

    def _fork(self, before: Callable[[], None] = lambda: None) -> Running:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.setsid()
            try:
                before()
                self.kernel.run(theirs)
            except Exception:
                traceback.print_exc()  # on the machine's serial line
            finally:
                os._exit(1)
        theirs.close()
        return pid, Frames(ours.fileno()), ours

    def _pass_on(self, channel: int) -> None:
        try:
            for _, payload in self.kernels[channel][1].receive():
                if payload:
                    self.line.send(channel, payload)
        except (EOFError, ConnectionResetError):
            status = self._end(channel)
            self.tell(ended=channel, status=status)

    def _end(self, channel: int) -> int:
        if channel not in self.kernels:
            return 0
        pid, _, ours = self.kernels.pop(channel)
        ours.close()
        os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Warm up, and serve the line."""
    fd = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd)
    from labsupport.page.kernel import warm_up

    Agent(fd, warm_up()).serve()


if __name__ == "__main__":
    main()
