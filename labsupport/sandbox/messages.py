"""Messages between a notebook and its helper processes: marshalled data, and descriptors.

A step that the kernel refuses is reported as plain data, too.
"""

from __future__ import annotations

import marshal
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# Helper processes take the C modules below `signal` and `socket`: what those add (enums, selectors)
# would be a third of the memory that each fork copies.

__all__ = ["signal", "socket"]

if TYPE_CHECKING:
    import signal
    import socket
else:
    import _signal as signal
    import _socket as socket


MESSAGE_BYTES = 1 << 18  # more than a Unix socket takes at once
FDS = struct.Struct("i")  # a descriptor in a message's ancillary data
# five of a program, and a cgroup's files: version 1 has one in each hierarchy, twelve at most
ANCILLARY_BYTES = socket.CMSG_SPACE(17 * FDS.size)
STATUS = struct.Struct("i")  # what the status pipe carries: a return code as subprocess has it


class Failure(Exception):
    """A step that the kernel refused; its `facts` are sent to the notebook as plain data."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(facts["step"])
        self.facts = facts


class Stage:
    """`with Stage("map ids"):` turns an OSError into a Failure that says where it happened."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, OSError):
            raise Failure({
                "step": self.step, "errno": error.errno or 0, "text": str(error.strerror),
                "path": str(error.filename or ""),
            }) from error  # fmt: skip


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Take one message and its descriptors; an empty message is the end."""
    # not by `socket.recv_fds`: it forgets its flags, and descriptors would leak into programs
    data, ancillary, _, _ = channel.recvmsg(MESSAGE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    return data, [fd for _, _, raw in ancillary for (fd,) in FDS.iter_unpack(raw)]


def send(channel: socket.socket, message: Any, fds: list[int]) -> None:
    """Send one message and descriptors with it."""
    raw = b"".join(map(FDS.pack, fds))
    channel.sendmsg([marshal.dumps(message)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, raw)])


def live(life: Callable[..., None], *facts: Any) -> NoReturn:
    """Run a forked child's whole life; it never returns into its parent's code."""
    try:
        life(*facts)
    except (BrokenPipeError, ConnectionResetError, EOFError):  # the notebook, or a child, has gone
        os._exit(71)
    except BaseException:
        # unlike traceback's functions it needs no import, which would fail in a new root
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    os._exit(0)
