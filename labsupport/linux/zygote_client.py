"""The notebook's side of the zygote: start it early, ask it for holders and programs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import marshal
import os
import select
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from labsupport import ownership
from labsupport.linux import messages

_MAIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); from labsupport.linux.zygote import main; main()"
)
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
CAP_SYS_ADMIN = 21  # linux/capability.h
ANSWER_BYTES = 1 << 16  # answers hold a few lines of calls
_lock = threading.Lock()
_sandboxes: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_running: tuple[int, socket.socket, subprocess.Popen[bytes]] | None = None


def connect(instead_of: socket.socket | None = None) -> socket.socket:
    """Return the socket of this process's zygote, started now if there is none (but that one)."""
    global _running  # noqa: PLW0603 (one zygote a process)
    with _lock:
        if (
            _running is None
            or _running[0] != os.getpid()
            or _running[1] is instead_of
            or _running[2].poll() is not None
        ):
            ownership.sweep()
            _running = (os.getpid(), *_start())
        return _running[1]


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = os.pidfd_open(os.getpid())
    fds = (theirs.fileno(), owner)
    # -I -S: no site packages, no environment; the smaller it is, the faster it forks
    argv = [sys.executable, "-I", "-S", "-c", _MAIN, _PACKAGE_PARENT]
    argv += ["root" if may_make_namespaces() else "user", *map(str, fds)]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True, cwd="/"
    )
    theirs.close()
    os.close(owner)
    atexit.register(_stop, os.getpid(), ours, process)
    return ours, process


def may_make_namespaces() -> bool:
    """Whether this process has CAP_SYS_ADMIN; without it, all begins with a user namespace.

    As it was when first asked: the zygote is what makes the namespaces, and has not changed since.
    """
    return _has_sys_admin(os.getpid())


@functools.lru_cache(maxsize=1)
def _has_sys_admin(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as status:
        effective = next(line for line in status if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_ADMIN & 1)


def _stop(pid: int, channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    if pid == os.getpid():
        for sandbox in _sandboxes:  # those that nobody has closed
            if sandbox.fileno() != -1:
                sandbox.shutdown(socket.SHUT_WR)
        channel.close()
        process.wait()


def order_holder(order: dict[str, Any]) -> socket.socket:
    """Ask for a sandbox; return the socket of its holder, whose first message is the answer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        zygote = connect()
        try:
            messages.send(zygote, order, [theirs.fileno()])
        except BrokenPipeError:  # it has given up, too many of its holders died
            messages.send(connect(instead_of=zygote), order, [theirs.fileno()])
    _sandboxes.add(ours)
    return ours


def send(channel: socket.socket, request: object, fds: tuple[int, ...]) -> None:
    """Send a request; whether anybody took it is told by `take`."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        messages.send(channel, request, list(fds))


def take(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait for an answer and its descriptors; an empty answer: nobody is there."""
    try:
        data, ancillary, _, _ = channel.recvmsg(
            ANSWER_BYTES, messages.ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return {}, []
    return (marshal.loads(data) if data else {}), messages.descriptors(ancillary)  # noqa: S302


def await_end(channel: socket.socket) -> None:
    """Wait until a holder has ended its programs and left its namespaces."""
    with channel:
        answer, fds = take(channel)
        while answer:  # perhaps one that nobody has taken
            if "ending" in answer:  # its namespaces end with the process of this pidfd
                exit_of = select.poll()
                exit_of.register(fds[0], select.POLLIN)
                exit_of.poll()
            for fd in fds:
                os.close(fd)
            answer, fds = take(channel)


def read_report(fd: int) -> dict[str, Any]:
    """Read what a child told between fork and exec; it ends when exec closes the pipe."""
    told: dict[str, Any] = {}
    with open(fd, "rb") as pipe:
        stream = io.BytesIO(pipe.read())
    while stream.tell() < len(stream.getbuffer()):
        told |= marshal.load(stream)  # noqa: S302
    return told
