"""User-Mode Linux as backend: its command line, what it needs of the host, what its death means."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labsupport.errors import (
    GuestDied,
    LabError,
    NoexecFolder,
    NoSpace,
    NotAGuestKernel,
    PtraceForbidden,
    TooLittleMemory,
)
from labsupport.vm.kernels import REMEDY, find_kernel

name = "uml"
boot_seconds = 30.0  # on a machine that is busy with others
pinned = True
keeps_files_open = True  # hostfs does
disk = "/dev/ubda"

LEAST_MEMORY = 96 << 20
# what starting takes of the host's memory, whatever the guest may use later
_HOST_MEMORY = 120 << 20
_LEAN = Path(__file__).with_name("lean.py")
_MIB = 1 << 20
# Where a container finds its own limit, in either version of cgroups: limit, usage, file cache.
_LIMITS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
# Where it finds how often that limit has killed. At the root of a machine there is no such file in
# version 2; in version 1 there is, and it counts nothing.
_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
# These start-up functions of the kernel are left out (a distribution's kernel has them all):
# measuring five ways to compute RAID 6 takes 0.85 s, and the control socket of mconsole wants
# a folder below HOME that a killed guest would leave behind.
_LEFT_OUT = ("make_umid_init", "mconsole_init", "raid6_select_algo")


def check(memory_bytes: int) -> None:
    """Raise a `LabError` if the host lacks what a guest with so much memory needs."""
    if memory_bytes < LEAST_MEMORY:
        raise TooLittleMemory(
            "the guest would have too little memory",
            f"{memory_bytes // _MIB} MB were asked for",
            f"give it {LEAST_MEMORY // _MIB} MB or more; a notebook needs 256 MB",
        )
    find_kernel()
    left = _memory_left()
    if left < _HOST_MEMORY:
        raise TooLittleMemory(
            "the Lab VM does not fit into this machine's memory",
            f"{left // _MIB} MB are left, and a guest starts with {_HOST_MEMORY // _MIB} MB",
            "shut down other notebooks (Running Terminals and Kernels), then start again",
        )
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    value = int(scope.read_text()) if scope.exists() else 0
    if not yama_allows(value, _may_trace()):
        raise _ptrace_forbidden(f"kernel.yama.ptrace_scope is {value}")
    memory_folder(memory_bytes)


def command(
    memory_bytes: int, line: int, share: Sequence[str], disk: int | None = None
) -> list[str]:
    """Return the command that boots a guest with its line and its disk on these descriptors.

    Quotes are the kernel's own: it takes its command line apart at blanks.
    """
    return [
        str(find_kernel()),
        f"mem={memory_bytes // 1024}K",
        *("rootfstype=hostfs", "rootflags=/", "ro", "quiet"),
        *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{line}"),
        *([] if disk is None else [f"ubda=/proc/self/fd/{disk}"]),
        *("pty.legacy_count=0", "lpj=10000000", f"initcall_blacklist={','.join(_LEFT_OUT)}"),
        f'init="{Path(sys.executable).resolve()}"',
        "LAB_LINE=/dev/ttyS0",
        *("--", "-I", "-S", f'"{_LEAN}"', "labsupport.vm.inside.init"),
    ]


def environment(memory_bytes: int) -> dict[str, str]:
    """Return the environment of that command."""
    return {"TMPDIR": memory_folder(memory_bytes), "PATH": os.defpath}


def mounts(share: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return the mounts (target, source, type, options) that share the host's folders."""
    return [(path, "share", "hostfs", path) for path in share]


def explain(console: str, was_up: bool) -> LabError:
    """Say what ended a guest, from the last lines of its console, and whether it ever was up."""
    if "No space left on device" in console or "Bus error" in console:
        return NoSpace(
            "the Lab VM ran out of space for its memory",
            f"it lies in a file in {os.environ.get('TMPDIR', 'the temporary folder')}",
            "free some space, or set TMPDIR to a folder that has more",
        )
    if "ptrace" in console and ("not permitted" in console or "child exited" in console):
        return _ptrace_forbidden("the kernel refused it")
    if "PROT_EXEC mmap" in console and "noexec" in console:
        return _noexec(["its folder for temporary files"])
    if not was_up and "Kernel panic" not in console:
        return NotAGuestKernel(
            f"{find_kernel()} did not start", console or "it ended without a word", REMEDY
        )
    if "Kernel panic" not in console and (kills := _kills_for_memory()):
        return TooLittleMemory(
            "the Lab VM has died, most likely killed by this machine for want of memory",
            f"processes that were killed for it in this container: {kills}",
            "shut down other notebooks (Running Terminals and Kernels), or give guests less memory "
            "(LAB_MEMORY=256M)",
        )
    return GuestDied("the Lab VM has died", console)


def memory_folder(memory_bytes: int) -> str:
    """Return a folder for the file that is the guest's memory: it is mapped, and executed from.

    `/dev/shm` is the fastest; in a container it is often tiny or `noexec`.
    """
    chosen = os.environ.get("TMPDIR")
    places = [chosen] if chosen else ["/dev/shm", tempfile.gettempdir(), "/var/tmp"]  # noqa: S108
    noexec, full = [], []
    for place in places:
        if not os.access(place, os.W_OK | os.X_OK):
            continue
        system = os.statvfs(place)
        if system.f_flag & os.ST_NOEXEC:
            noexec.append(place)
        elif (free := system.f_bavail * system.f_frsize) < memory_bytes:
            full.append(f"{place} has {free // _MIB} MB free")
        else:
            return place
    if full:
        raise NoSpace(
            f"no space for {memory_bytes // _MIB} MB of guest memory",
            ", ".join(full),
            "free some space, set TMPDIR to a folder that has more, or give the guest less "
            "memory (LAB_MEMORY=256M)",
        )
    raise _noexec(noexec or places)


def _noexec(places: Sequence[str]) -> NoexecFolder:
    return NoexecFolder(
        "no folder for the guest's memory",
        f"{', '.join(places)}: mounted noexec, or not writable",
        "set TMPDIR to a folder that you may write to on a file system mounted without noexec",
    )


def _ptrace_forbidden(why: str) -> PtraceForbidden:
    return PtraceForbidden(
        "the Lab VM cannot run here: User-Mode Linux needs ptrace(2)",
        why,
        "sudo sysctl kernel.yama.ptrace_scope=1; in a container, allow ptrace in its seccomp "
        "profile; or go on without the Lab VM: LAB_PLACE=host",
    )


def yama_allows(scope: int, may_trace: bool) -> bool:
    """Whether a process may trace its children; from 2 on, PTRACE_TRACEME is restricted as well."""
    return scope < 2 or (scope == 2 and may_trace)


def _may_trace() -> bool:
    """Whether this process has CAP_SYS_PTRACE, which Yama's scope 2 asks for."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(effective >> 19 & 1)


def _memory_left() -> int:
    """Bytes that this process may still take: of the machine's memory and of its cgroup's limit."""
    info = Path("/proc/meminfo").read_text()
    left = _number(info, "MemAvailable:") * 1024
    for folder, limit, usage, cache in _LIMITS:
        if (folder / limit).exists() and (most := (folder / limit).read_text().strip()) != "max":
            used = int((folder / usage).read_text())
            kept = _number((folder / "memory.stat").read_text(), cache)  # given back when needed
            left = min(left, max(int(most) - used + kept, 0))
    return left


def _kills_for_memory() -> int:
    """How often the memory limit of this process's container has killed; 0 outside of one."""
    return sum(_number(file.read_text(), "oom_kill") for file in _EVENTS if file.exists())


def _number(text: str, name: str) -> int:
    """Return the number after a name, in a text of names and numbers; 0 if it is not there."""
    words = text.split()
    return int(words[words.index(name) + 1]) if name in words else 0
