"""What the kernel did to a group, noticed when it happens: OOM kills and refused forks.

v1 tells of an OOM through an eventfd (`cgroup.event_control`), v2 by a change of `memory.events`,
and of a refused fork by one of `pids.events`. Not every kernel tells of that in v1 (Linux 6.18 does
not): there, and only there, the file is read every 20 ms. All hang on one epoll descriptor.

Of throttling the kernel tells nobody: it is counted in `cpu.stat`, and `Cgroup.usage()` reads that.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from labsupport.closing import Closing
from labsupport.errors import CgroupClosed
from labsupport.linux import syscalls
from labsupport.linux.cgroup.folder import READ_BYTES, Folder, put

TICK_SECONDS = 0.02
V1_KILL_SECONDS = 0.05  # v1 tells of the OOM before it has chosen whom to kill


@dataclass(frozen=True)
class Event:
    """`kind` is "oom_kill" or "fork_refused"; `count` is how often, since the group began.

    `new` of them were not told before. `at_seconds` is when it was noticed, on the clock
    `time.monotonic()`. The kernel tells of changes at most every 10 ms, so one event may stand for
    many.
    """

    kind: str
    at_seconds: float
    count: int
    new: int


class Events(Closing):
    """Notices what happens to one group. Use it in a `with` statement, or `close()` it.

    `fileno()` is readable when something has happened: give it to `loop.add_reader`, and call
    `read()` then; or `wait()` for it.
    """

    def __init__(self, memory: Folder | None, pids: Folder | None) -> None:
        self._epoll = select.epoll()
        self._fds: list[int] = []
        self._counters: dict[str, Callable[[], int]] = {}
        self._eventfd: int | None = None
        self._timer: int | None = None
        if memory and memory.version == 1:
            self._listen_v1(memory)
        elif memory:
            self._watch("oom_kill", memory, "memory.events", "oom_kill")
        if pids and pids.has("pids.events"):
            self._watch("fork_refused", pids, "pids.events", "max")
            if pids.version == 1:
                self._tick()
        self._waiting: list[Event] = []
        self._told = {kind: count() for kind, count in self._counters.items()}

    def _watch(self, kind: str, folder: Folder, file: str, word: str) -> int:
        """Watch a file that announces its changes by POLLPRI, until it is read again."""
        fd = os.open(folder.path / file, os.O_RDONLY | os.O_CLOEXEC)
        self._fds.append(fd)
        self._counters[kind] = lambda: _value(fd, word)
        if folder.version == 2:
            self._epoll.register(fd, select.EPOLLPRI)
        return fd

    def _listen_v1(self, folder: Folder) -> None:
        fd = self._watch("oom_kill", folder, "memory.oom_control", "oom_kill")
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._fds.append(self._eventfd)
        put(folder.path / "cgroup.event_control", f"{self._eventfd} {fd}")
        self._epoll.register(self._eventfd, select.EPOLLIN)

    def _tick(self) -> None:
        self._timer = syscalls.timerfd(TICK_SECONDS)
        self._fds.append(self._timer)
        self._epoll.register(self._timer, select.EPOLLIN)

    def fileno(self) -> int:
        """A descriptor that is readable when something has happened."""
        if self._epoll.closed:
            raise CgroupClosed("these events are closed", "", "ask the group for new ones")
        return self._epoll.fileno()

    def read(self) -> list[Event]:
        """Return what has happened and was not told yet; at once."""
        self.fileno()
        if self._timer is not None:
            with contextlib.suppress(BlockingIOError):  # it has not ticked since
                os.read(self._timer, 8)
        if self._eventfd is not None:
            self._await_the_kill(self._eventfd)
        now = time.monotonic()
        found = []
        for kind, counter in self._counters.items():
            count = counter()
            if new := count - self._told[kind]:
                found.append(Event(kind, now, count, new))
                self._told[kind] = count
        return found

    def _await_the_kill(self, eventfd: int) -> None:
        try:
            os.eventfd_read(eventfd)
        except BlockingIOError:
            return
        counter, end = self._counters["oom_kill"], time.monotonic() + V1_KILL_SECONDS
        while counter() == self._told["oom_kill"] and time.monotonic() < end:
            time.sleep(0.0005)

    def wait(self, timeout: float | None = None) -> Event | None:
        """Wait for something to happen; None: nothing did, within `timeout` seconds.

        If several kinds came together, the others are given by the next call.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._waiting:
            left = None if end is None else max(0, end - time.monotonic())
            if not self._epoll.poll(left) and left is not None:
                return None
            self._waiting += self.read()
        return self._waiting.pop(0)

    def close(self) -> None:
        """Listen no longer; may be called twice."""
        self._epoll.close()
        while self._fds:
            os.close(self._fds.pop())


def _value(fd: int, word: str) -> int:
    found = os.pread(fd, READ_BYTES, 0).decode().split()
    return int(found[found.index(word) + 1])
