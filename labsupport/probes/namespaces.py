"""Each kind of namespace, made and used; and one file system laid over another.

Whoever lacks CAP_SYS_ADMIN gets it in a user namespace of its own first, as `unshare -Ur` does.
See namespaces(7) and user_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from pathlib import Path

from labsupport.linux import syscalls as sc
from labsupport.probes import facts
from labsupport.probes.children import Failed, Refused, inside, step

MOUNT_PROC = "mounting a fresh /proc"
MOUNT_OVERLAY = "mounting an overlay"
SCRATCH = "/tmp"  # noqa: S108 (only covered by a tmpfs of our own, in our own mount namespace)

# linux/if.h, bits/ioctls.h
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def enter(flags: int, words: str) -> None:
    """Move this child into new namespaces, by way of a user namespace if it has to be."""
    if _half_way or not facts.is_privileged():
        enter_user_namespace()
    with step(words):
        sc.unshare(flags)


def enter_user_namespace() -> None:
    """Become root in a user namespace in which only our own number is mapped.

    Where that fails half way, this process ends up with capabilities that mean nothing, and says
    the same again when it is asked again.
    """
    if _half_way:
        raise _half_way[0]
    try:
        _enter_user_namespace()
    except Failed as no:
        _half_way.append(no)
        raise


_half_way: list[Failed] = []


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    with step("making a user namespace"):
        sc.unshare(sc.CLONE_NEWUSER)
    with step("becoming root in a user namespace"):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def make_mounts_private() -> None:
    """Keep what we mount from spreading; also the first thing AppArmor refuses."""
    with step("making mounts private"):
        sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)


def user() -> str:
    """A user namespace, and rights that count in it."""
    enter_user_namespace()
    with step("using a capability in a user namespace"):
        sc.unshare(sc.CLONE_NEWUTS)
        sc.sethostname("probe")
    return "root in a user namespace of our own"


def pid() -> str:
    """A PID namespace whose first process sees itself as 1 in a /proc of its own."""
    enter(sc.CLONE_NEWPID | sc.CLONE_NEWNS, "making a PID and a mount namespace")
    return inside(_first_process)


def _first_process() -> str:
    make_mounts_private()
    with step(MOUNT_PROC):
        sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    seen = (os.getpid(), os.readlink("/proc/self"))
    if seen != (1, "1"):
        raise Refused(f"the first process of a PID namespace saw itself as {seen}, not as 1")
    return "PID 1, with its own /proc"


def mount() -> str:
    """A mount namespace in which a tmpfs can be mounted."""
    enter(sc.CLONE_NEWNS, "making a mount namespace")
    make_mounts_private()
    with step("mounting a tmpfs"):
        sc.mount("tmpfs", SCRATCH, "tmpfs")
    if os.listdir(SCRATCH):
        raise Refused("a tmpfs was mounted, but the old files were still seen")
    return "a tmpfs of our own"


def net() -> str:
    """A network namespace in which loopback can be brought up."""
    enter(sc.CLONE_NEWNET, "making a network namespace")
    with step("bringing up loopback"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        request = struct.pack("16sh22x", b"lo", IFF_UP)
        fcntl.ioctl(any_, SIOCSIFFLAGS, request)
        answer = fcntl.ioctl(any_, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
    if not struct.unpack("16sh22x", answer)[1] & IFF_UP:
        raise Refused("loopback stayed down in a new network namespace")
    return "own loopback"


def uts() -> str:
    """A UTS namespace with a host name of its own."""
    enter(sc.CLONE_NEWUTS, "making a UTS namespace")
    with step("setting a host name"):
        sc.sethostname("probe")
    if os.uname().nodename != "probe":
        raise Refused("the host name did not change in a new UTS namespace")
    return "own host name"


def ipc() -> str:
    """An IPC namespace: another inode than ours."""
    before = os.readlink("/proc/self/ns/ipc")
    enter(sc.CLONE_NEWIPC, "making an IPC namespace")
    if os.readlink("/proc/self/ns/ipc") == before:
        raise Refused("unshare succeeded, but the IPC namespace stayed the same")
    return "own message queues"


def cgroup() -> str:
    """A cgroup namespace: our own group looks like the root of the tree."""
    enter(sc.CLONE_NEWCGROUP, "making a cgroup namespace")
    paths = {line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    if paths - {"/"}:
        raise Refused(f"in a new cgroup namespace our group is {sorted(paths)}, not /")
    return "own root of the cgroup tree"


def time_() -> str:
    """A time namespace whose monotonic clock is a day ahead; time_namespaces(7)."""
    enter(sc.CLONE_NEWTIME, "making a time namespace")
    with step("setting the clock of a time namespace"):
        Path("/proc/self/timens_offsets").write_text("monotonic 86400 0")
    before = time.monotonic()

    def one_day_ahead() -> str:
        ahead = time.monotonic() - before
        if not 86400 <= ahead < 2 * 86400:
            raise Refused(f"the clock in a new time namespace is {ahead:.0f} s ahead, not a day")
        return "own monotonic clock"

    return inside(one_day_ahead)


def overlay() -> str:
    """An overlay mount: a change goes to the upper layer, the lower one stays as it was."""
    enter(sc.CLONE_NEWNS, "making a mount namespace")
    make_mounts_private()
    with step("mounting a tmpfs"):
        sc.mount("tmpfs", SCRATCH, "tmpfs")
    lower, upper, work, merged = (Path(SCRATCH, n) for n in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir()
    (lower / "file").write_text("lower")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if os.readlink("/proc/self/ns/user") != _initial_user_namespace():
        options += ",userxattr"
    with step(MOUNT_OVERLAY):
        sc.mount("overlay", str(merged), "overlay", 0, options)
    with step("copying a file up in an overlay"):
        (merged / "file").write_text("upper")
    if ((lower / "file").read_text(), (upper / "file").read_text()) != ("lower", "upper"):
        raise Refused("an overlay did not copy a changed file up")
    return "copy-up works"


def _initial_user_namespace() -> str:
    return "user:[4026531837]"  # PROC_USER_INIT_INO of linux/proc_ns.h


# these may follow one another in one process: each makes its namespaces anew
SHARED = {
    "ns.mount": mount,
    "overlay": overlay,
    "ns.uts": uts,
    "ns.ipc": ipc,
    "ns.cgroup": cgroup,
    "ns.net": net,
    "ns.time": time_,
}
ALONE = {"ns.pid": pid, "ns.user": user}
