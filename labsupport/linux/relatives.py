"""Who is behind a socket, and who belongs to a control group: how processes of an engine are found.

Nothing here needs root, but for sockets that only root may connect to.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from labsupport.errors import ProcessGone
from labsupport.linux.procfs import all_pids, status


def listener(path: str | Path) -> int | None:
    """Return who called listen(2) at a Unix socket, as the kernel tells who connects; unix(7).

    None: nobody listens there, we may not connect, or the process is in a PID namespace that we do
    not see. systemd listens for services that it starts on demand: then it is PID 1.
    """
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:  # gone, refused or forbidden: all the same to who asks whether one is there
            return None
        raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = int(struct.unpack("3i", raw)[0])
    return pid or None


def group_members(part: str) -> list[int]:
    """The PIDs of processes in whose control group's path `part` occurs, such as an ID."""
    return [pid for pid in all_pids() if part in _groups(pid)]


def first_of(pids: Iterable[int]) -> int | None:
    """Which of these is PID 1 of a PID namespace below ours; None: no such process."""
    for pid in pids:
        try:
            numbers = status(pid).pids
        except ProcessGone:
            continue
        if len(numbers) > 1 and numbers[-1] == 1:
            return pid
    return None


def named(*names: str) -> list[int]:
    """The PIDs of processes that the kernel calls one of these names (15 characters; proc(5))."""
    found = []
    for pid in all_pids():
        try:
            if status(pid).name in names:
                found.append(pid)
        except ProcessGone:
            continue
    return found


def wait_gone(pids: Iterable[int], seconds: float) -> bool:
    """Wait until these processes have ended, for so many seconds; tell whether they have."""
    until = time.monotonic() + seconds
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([pidfd], [], [], max(0, until - time.monotonic()))[0]:
                return False
        finally:
            os.close(pidfd)
    return True


def _groups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
