"""The program that dies with its owner: it runs a command, or just waits, and then clears up.

`lean.py labsupport.ownership.reaper OWNER [OPTION…] [-- COMMAND…]`. The end comes when `OWNER` (our
parent's process ID) has gone, however it went, when the standard input has a byte or is closed, at
SIGTERM, or when the command ends.

A container engine starts helpers that outlive it, a guest is some processes in a session of their
own. We are the subreaper (prctl(2)) of all of them: every orphan among them becomes our child, and
ends with us. What else there is to do at the end:

    --remove=DIR      remove the folder
    --cgroup=NAME     remove the cgroup of that name, and those below it, in each hierarchy
    --cover=DIR       the command sees an empty file system there, in a mount namespace of its own
    --bridge=DATA     the command gets a bridge: `{bridge}` in its words is the link's name,
                      `{networks}` the range for more, which the engine's database in DATA names
    --guest           the command is a virtual machine: it may open many files, its addresses are
                      not random, and it has a second to power itself off, unless a byte says no
    --cpu=N           all of it is bound to that CPU
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import ExitStack, suppress

from labsupport.kernel import proc, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CGROUPS = "/sys/fs/cgroup"
GRACE_SECONDS = 1.0
OPTIONS = {"remove", "cgroup", "cover", "bridge", "guest", "cpu"}


def main(args: Sequence[str]) -> int:
    """Run the command until its end has come; return its exit status, 0 if we ended it."""
    owner, options, command = parse(args)
    owner_gone = _open_parent(owner)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    with ExitStack() as ends:  # each is done even if another one fails; the last one comes first
        for name in options.get("cgroup", ()):
            ends.callback(remove_cgroups, name)
        for folder in options.get("remove", ()):
            ends.callback(remove_folder, folder)
        for folder in options.get("cover", ()):
            if not os.path.exists(folder):
                os.makedirs(folder)
                ends.callback(os.rmdir, folder)
        for data in options.get("bridge", ()):
            command = _with_bridge(command, data, ends)
        ends.callback(end_descendants)
        ends.callback(signal.signal, signal.SIGCHLD, signal.SIG_DFL)
        ends.callback(signal.signal, signal.SIGTERM, signal.SIG_IGN)  # we are at it
        if owner_gone is None:
            return 1
        if not command:
            select.select([owner_gone, 0], [], [])
            return 0
        return _run(command, options, owner_gone)


def parse(args: Sequence[str]) -> tuple[int, dict[str, list[str]], list[str]]:
    """Return the owner, the values of each option, and the command; argparse would be slow."""
    owner, *rest = args
    options: dict[str, list[str]] = {}
    while rest and rest[0].startswith("--"):
        name, _, value = rest.pop(0)[2:].partition("=")
        if not name:
            break
        if name not in OPTIONS:
            raise ValueError(f"unknown option --{name}")
        options.setdefault(name, []).append(value)
    return int(owner), options, rest


def _open_parent(owner: int) -> int | None:
    """Return a descriptor that is readable once our parent has gone; None: it has already."""
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(owner)
        if os.getppid() == owner:
            return fd
    return None


def _run(command: list[str], options: dict[str, list[str]], owner_gone: int) -> int:
    guest = "guest" in options
    for cpu in options.get("cpu", ()):
        os.sched_setaffinity(0, {int(cpu)})
    if guest:
        _suit_a_guest()
    pid = os.fork()
    if pid == 0:
        _become(command, options.get("cover", []))
    ended = os.pidfd_open(pid)
    statuses = _collect_children()
    for fd in {*range(3, 256)} - {owner_gone, ended}:  # what was inherited is the command's alone
        with suppress(OSError):
            os.close(fd)
    told = select.select([ended, owner_gone, 0], [], [])[0]
    in_a_hurry = 0 in told and os.read(0, 1)
    if ended not in told and guest and not in_a_hurry:
        told = select.select([ended], [], [], GRACE_SECONDS)[0]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with suppress(ProcessLookupError):  # a guest's processes are a group, once it has got that far
        os.killpg(pid, signal.SIGKILL)
    if ended not in told:
        return 0
    status = statuses[pid] if pid in statuses else os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status) & 0xFF


def _suit_a_guest() -> None:
    import resource

    # hostfs keeps a file open for every inode that it caches
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(PermissionError):  # Docker's seccomp filter; it costs some memory
        # User-Mode Linux counts the gap after its program as memory
        syscalls.personality(syscalls.ADDR_NO_RANDOMIZE)


def _become(command: list[str], covers: list[str]) -> None:
    """In the child: cover folders, and turn into the command."""
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if covers:
            cover(covers)
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        hint = " (CAP_SYS_ADMIN?)" if covers else ""
        os.write(2, f"{command[0]} was not started: {error}{hint}\n".encode())
    finally:
        os._exit(126)


def cover(folders: list[str]) -> None:
    """Enter a mount namespace, and put an empty file system over folders there; needs root."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    for folder in folders:
        syscalls.mount("tmpfs", folder, "tmpfs", 0, "mode=0755")


def _collect_children() -> dict[int, int]:
    """Wait for each child as it ends, orphans included; return {PID: status}, which grows."""
    statuses: dict[int, int] = {}

    def collect(*_: object) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                statuses[pid] = status

    signal.signal(signal.SIGCHLD, collect)
    collect()
    return statuses


def end_descendants() -> None:
    """Kill children, and those that their death makes our children, until there are none."""
    while children := proc.children():
        for pid in children:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still theirs
        for _ in children:
            # whichever ends first: PID 1 of a container does not end before those that `exec` put
            # into it have been reaped, which we do as well; pid_namespaces(7)
            os.waitpid(-1, 0)


def _with_bridge(command: list[str], data: str, ends: ExitStack) -> list[str]:
    """Make a bridge, have it removed with those of the engine's networks, and name it."""
    from labsupport.errors import NetworkRefused
    from labsupport.ownership import bridges  # which is not light

    try:
        bridge = bridges.make()
    except NetworkRefused as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    ends.callback(bridges.remove_all, bridge, data)
    words = {"{bridge}": bridge.name, "{networks}": str(bridge.networks)}
    for word, value in words.items():
        command = [part.replace(word, value) for part in command]
    return command


def remove_folder(folder: str) -> None:
    """Remove a folder and all that is in it, unless something is mounted there."""
    # somebody else may be faster
    import shutil

    if not proc.mounts_in(folder):
        shutil.rmtree(folder, ignore_errors=True)


def remove_cgroups(name: str) -> None:
    """Remove the cgroup of that name, and those below it, in every hierarchy; all are empty."""
    trees = [entry.path for entry in os.scandir(CGROUPS) if entry.is_dir()]
    for tree in (CGROUPS, *trees):
        for folder, _, _ in os.walk(os.path.join(tree, name), topdown=False):
            os.rmdir(folder)
