"""The one reader of /proc, where names are whatever bytes somebody chose; proc(5).

A process's name may be cut within a character, a path may hold blanks and bytes that are not UTF-8,
and a process ends, or turns out to be somebody else's, while it is read: all of that is dealt with
here. Only the fast part of the standard library is imported: helper processes use this, too.
`labsupport.kernel.procfs` and `mounts` make dataclasses of it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21  # linux/capability.h
OURS_NO_MORE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""What reading a process raises when it has ended, or belongs to somebody else."""


def read(pid: int | str, file: str) -> bytes:
    """Read a file of a process, such as `status`.

    Raises `OSError`: there is no such process (ENOENT, ESRCH), or it is somebody else's (EACCES,
    EPERM).
    """
    with open(f"/proc/{pid}/{file}", "rb", buffering=0) as opened:
        return opened.readall()


def text(raw: bytes) -> str:
    r"""Return names as they can be shown: `\xfc` for a byte that is not UTF-8."""
    return raw.decode(errors="backslashreplace")


def pids() -> list[int]:
    """The PIDs that this /proc shows."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def status(pid: int | str = "self") -> dict[str, str]:
    """Read all of /proc/PID/status. Raises `OSError`, as `read` does."""
    lines = text(read(pid, "status")).split("\n")
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def has_capability(number: int) -> bool:
    """Tell whether this process has the capability of that number now; capabilities(7)."""
    return bool(int(status()["CapEff"], 16) >> number & 1)


def stat(pid: int | str) -> list[str]:
    """Read /proc/PID/stat from its third field on: state, parent's PID and so on.

    Before it comes the name in parentheses, which may hold blanks and parentheses itself.
    Raises `OSError`, as `read` does.
    """
    return read(pid, "stat").rpartition(b")")[2].decode().split()


def cpu_seconds(pid: int) -> float:
    """How many seconds of a CPU a process has had, its children's not counted."""
    utime, stime = stat(pid)[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def pss(rollup: bytes) -> int:
    """Read a process's share of the memory that it holds, in bytes; proc_pid_smaps(5)."""
    return int(rollup.partition(b"\nPss:")[2].split()[0]) << 10


def available_memory() -> int:
    """How many bytes programs can have without swapping; proc_meminfo(5)."""
    with open("/proc/meminfo") as file:
        return int(file.read().partition("MemAvailable:")[2].split()[0]) << 10


def children(of: int | None = None) -> list[int]:
    """The children of a process, by default ours, adopted and ended ones included."""
    # /proc/PID/task/TID/children would tell, but not every kernel has it
    return [pid for pid in pids() if _parent(pid) == str(of or os.getpid())]


def _parent(pid: int) -> str:
    try:
        return stat(pid)[1]
    except OURS_NO_MORE:
        return ""


def mount_lines(pid: int | str = "self") -> list[str]:
    """Read the lines of /proc/PID/mountinfo. Raises `OSError`, as `read` does."""
    return os.fsdecode(read(pid, "mountinfo")).split("\n")[:-1]


def mount_fields(line: str) -> tuple[list[str], str, str, str]:
    """Take a line of mountinfo apart: fields, type, source, options; proc_pid_mountinfo(5).

    The fields before the dash are six or more; the fourth and the fifth are the root and the point
    of the mount, ready to be used as paths. What follows the source is all options: some file
    systems write blanks there, as 9p does.
    """
    left, _, right = line.partition(" - ")
    fields = left.split(" ")
    fields[3:5] = map(plain, fields[3:5])
    fstype, source, options = right.split(" ", 2)
    return fields, fstype, plain(source), options


def mount_table(pid: int | str = "self") -> Iterator[tuple[list[str], str, str, str]]:
    """Read the mounts of a process, see `mount_fields`. Raises `OSError`, as `read` does."""
    return map(mount_fields, mount_lines(pid))


def mounts_in(folder: str | os.PathLike[str]) -> list[str]:
    """Return what is mounted below a folder: it is not part of it, and is not removed with it."""
    below = os.path.join(os.path.realpath(folder), "")
    return [fields[4] for fields, *_ in mount_table() if fields[4].startswith(below)]


def plain(escaped: str) -> str:
    r"""Undo the kernel's escapes of blanks and backslashes: `\040` is a space."""
    first, *rest = escaped.split("\\")
    return first + "".join(
        chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else "\\" + part for part in rest
    )
