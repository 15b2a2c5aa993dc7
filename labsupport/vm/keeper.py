"""The parent of a guest: ends it when its owner has gone, however the owner went.

`lean.py labsupport.vm.keeper OWNER CPU COMMAND…`. User-Mode Linux is a handful of processes in
a session of their own, and killing the first leaves the others. So each guest has a keeper, which
waits for the end of the guest or of its owner, and then kills the whole group.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal

from labsupport.linux import syscalls

GRACE_SECONDS = 1.0


def main(args: list[str]) -> int:
    """Run `COMMAND` until it or its owner ends; return its exit status.

    `CPU` is the one that all of it is bound to, or `-`. A byte on the standard input means that
    the owner will not wait for a guest that does not power itself off.
    """
    owner, cpu, *command = int(args[0]), *args[1:]
    if cpu != "-":
        os.sched_setaffinity(0, {int(cpu)})
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    _keep_addresses_in_order()
    _open_many_files()
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    guest = os.posix_spawn(
        command[0], command, os.environ, file_actions=[no_input], setsigdef=[signal.SIGPIPE]
    )
    os.closerange(3, 256)  # the line is the guest's alone
    guest_gone = syscalls.pidfd_open(guest)
    owner_gone = _open_parent(owner)
    select.select([owner_gone, guest_gone, 0], [], [])
    if not _in_a_hurry():
        select.select([guest_gone], [], [], GRACE_SECONDS)  # its line is cut, it powers off
    _kill_group(guest)
    _, status = os.waitpid(guest, 0)
    _end_the_rest()
    return os.waitstatus_to_exitcode(status) & 0xFF


def _open_many_files() -> None:
    """Raise the limit of open files: hostfs keeps a file open for every inode that it caches."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open_parent(owner: int) -> int:
    """Return a descriptor that is readable once our parent has gone; it may be so already."""
    try:
        fd = syscalls.pidfd_open(owner)
    except ProcessLookupError:
        return _ended()
    return fd if os.getppid() == owner else _ended()


def _ended() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def _in_a_hurry() -> bool:
    return bool(select.select([0], [], [], 0)[0] and os.read(0, 1))


def _kill_group(guest: int) -> None:
    """The guest's processes are a group once it has got that far; it is one process until then."""
    try:
        os.killpg(guest, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(guest, signal.SIGKILL)  # our child, not waited for yet: there is one


def _end_the_rest() -> None:
    """Kill and reap the guest's other processes, which are ours since its first one ended.

    They would be zombies for ever in a container whose process 1 is no init.
    """
    with contextlib.suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN
        while children := _children():
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            for pid in children:
                os.waitpid(pid, 0)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _keep_addresses_in_order() -> None:
    """Switch address randomisation off: the guest counts the gap after its program as memory."""
    with contextlib.suppress(PermissionError):  # Docker's seccomp filter; it costs some memory
        syscalls.personality(syscalls.ADDR_NO_RANDOMIZE)
