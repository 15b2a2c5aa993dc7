"""A filter that asks a supervisor: SECCOMP_RET_USER_NOTIF in seccomp(2).

The call waits in the kernel until the supervisor has answered, with an error, or that it be made.
Used by helper processes, so that only the fast modules of the standard library are imported.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import time

from labsupport.linux import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_SECONDS = 0.02
MARK = 0x6C61627375707074  # as the sixth argument: this call is a trial
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, then struct seccomp_data
_RESPONSE = struct.Struct("=QqiI")  # id, result, error, flags

# linux/bpf_common.h
_LOAD, _JEQ, _RET = 0x20, 0x15, 0x06
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_SIXTH = 16 + 5 * 8


class Call:
    """A system call that waits for an answer: who makes it, its number and arguments."""

    __slots__ = ("arguments", "id", "number", "pid")

    def __init__(self, raw: bytearray) -> None:
        self.id, self.pid, _, self.number, _, _, *self.arguments = _NOTIFICATION.unpack(raw)


def ask_about_all() -> bytes:
    """Return a filter that asks about every call."""
    return _program([(_RET, 0, 0, _NOTIFY)])


def ask_about_marked() -> bytes:
    """Return a filter that asks about calls whose sixth argument is `MARK`, and allows others."""
    low, high = MARK & 0xFFFFFFFF, MARK >> 32
    return _program(
        [
            (_LOAD, 0, 0, _SIXTH), (_JEQ, 0, 3, low), (_LOAD, 0, 0, _SIXTH + 4), (_JEQ, 0, 1, high),
            (_RET, 0, 0, _NOTIFY), (_RET, 0, 0, _ALLOW),
        ]
    )  # fmt: skip


def _program(lines: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def announce(program: bytes, tell: int) -> None:
    """Load such a filter, and write the descriptor for its calls to `tell`, or minus the errno."""
    try:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        said = sc.seccomp_new_listener(program)
    except OSError as error:
        os.write(tell, str(-(error.errno or 1)).encode())
        raise
    os.write(tell, str(said).encode())


class Children:
    """Our children that have ended, waited for by and by: `look` takes the statuses there are."""

    def __init__(self) -> None:
        self._statuses: dict[int, int] = {}

    def look(self) -> None:
        """Wait for all that have ended."""
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._statuses[found[0]] = found[1]
        except ChildProcessError:  # there is none any more
            return

    def status_of(self, pid: int) -> int:
        """Wait for one of them, and return how it ended, as os.waitpid does."""
        return self._statuses[pid] if pid in self._statuses else os.waitpid(pid, 0)[1]


def calls(listener: int, children: Children, until: float = float("inf")) -> Iterator[Call | None]:
    """Wait for calls, one after another, until nobody is left under the filter.

    Before Linux 6.11, who has ended is left there until waited for: so we look after `children`.
    When the time `until` has come (by time.monotonic), yields None, once.
    """
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while True:
        left = until - time.monotonic()
        ready = waiting.poll(max(0.0, min(left, LOOK_SECONDS) * 1000))
        if not ready:
            children.look()
            if left <= 0:
                until = float("inf")
                yield None
            continue
        if not ready[0][1] & select.POLLIN:
            return
        raw = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, sc.SECCOMP_IOCTL_NOTIF_RECV, raw)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # who made the call was killed meanwhile
                continue
            raise
        yield Call(raw)


def refuse(listener: int, call: Call, number: int) -> None:
    """Answer that the call fails with an errno."""
    _answer(listener, _RESPONSE.pack(call.id, 0, -number, 0))


def let_pass(listener: int, call: Call) -> None:
    """Answer that the kernel make the call."""
    _answer(listener, _RESPONSE.pack(call.id, 0, 0, sc.SECCOMP_USER_NOTIF_FLAG_CONTINUE))


def _answer(listener: int, response: bytes) -> None:
    try:
        fcntl.ioctl(listener, sc.SECCOMP_IOCTL_NOTIF_SEND, response)
    except FileNotFoundError:  # who made the call was killed meanwhile
        return
