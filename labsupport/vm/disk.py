"""The guest's disk: a sparse file of the host's that has no name, so nothing of it can be left.

Images of containers are large, and the guest's memory is small. What is written here takes space on
the host's disk, and of its memory only what that can spare. The file goes with the last process
that has it open, which is the guest's, however that one ends.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

LARGEST_BYTES = 16 << 30
LEAST_BYTES = 256 << 20  # less is not worth the trouble: memory has as much
_LEFT_TO_OTHERS = 4  # this part of the free space, so that a guest cannot fill the host's disk
_IN_MEMORY = ("tmpfs", "ramfs")


def open_disk() -> int | None:
    """Open a new file and return its descriptor; None where no folder has the space.

    It lies in the folder for temporary files, or in `/var/tmp` if the first lies in memory itself.
    """
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
    """Return the type of the file system that a folder lies on; proc_pid_mountinfo(5)."""
    path = os.path.realpath(folder)
    found = ("", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        if path == point or path.startswith(point.rstrip("/") + "/"):
            found = max(found, (point, right.split()[0]), key=lambda each: len(each[0]))
    return found[1]
