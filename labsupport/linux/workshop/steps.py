"""The nine steps from a process to a container, as notebook 08 has its reader write them.

The exercises and the tests take them from here; a test holds them equal to the notebook's cells.
They run in the process of a container script, see `labsupport.linux.workshop.building`.
"""

from __future__ import annotations

import os

from labsupport.linux import syscalls as linux
from labsupport.linux.workshop.building import (
    Container,
    Step,
    become_root,
    run,
    wait_and_exit,
    write,
)


def own_mounts(c: Container) -> None:
    """A copy of the mount table, whose changes do not spread."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)


def own_root(c: Container) -> None:
    """A folder as root file system, with a fresh /proc; the old root is let go."""
    linux.mount(c.root, c.root, None, linux.MS_BIND | linux.MS_REC)
    linux.mount("proc", c.root + "/proc", "proc")
    linux.mount("/dev/null", c.root + "/dev/null", None, linux.MS_BIND)
    os.chdir(c.root)
    linux.pivot_root(".", ".")
    linux.umount2(".", linux.MNT_DETACH)


def own_pids(c: Container) -> None:
    """A child as process 1; who forked it waits outside."""
    linux.unshare(linux.CLONE_NEWPID)
    if child := os.fork():
        wait_and_exit(child)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)


def own_name(c: Container) -> None:
    """A host name, and shared memory, of its own."""
    linux.unshare(linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)
    linux.sethostname(c.name)


def own_network(c: Container) -> None:
    """A network with a cable to the outside, and an address at either end."""
    linux.unshare(linux.CLONE_NEWNET)
    c.outside(plug_cable, c.pid, c.gateway)
    run("ip address add dev eth0", c.inside)
    run("ip link set eth0 up")


def plug_cable(pid: int, address: str) -> None:
    """Outside: one end of a cable into the container, an address on the other."""
    run(f"ip link add veth{pid} type veth peer name eth0 netns {pid}")
    run(f"ip address add dev veth{pid} {address}")
    run(f"ip link set veth{pid} up")


def own_users(c: Container) -> None:
    """Be root here, and somebody without rights out there."""
    linux.unshare(linux.CLONE_NEWUSER)
    c.outside(write, f"/proc/{c.pid}/uid_map", c.users)
    c.outside(write, f"/proc/{c.pid}/gid_map", c.users)
    become_root()


def own_cgroup(c: Container) -> None:
    """Live in a control group that limits us, and see no other."""
    for file in c.cgroup:
        write(file, "0")
    linux.unshare(linux.CLONE_NEWCGROUP)


def few_capabilities(c: Container) -> None:
    """Give up all of root's privileges but a few, for good."""
    linux.drop_from_bounding_set(c.kept)
    linux.capset(c.kept, c.kept, 0)


def own_filter(c: Container) -> None:
    """Have the kernel refuse some system calls, and never gain privileges again."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.seccomp_set_filter(c.filter)


STEPS: tuple[Step, ...] = (
    own_cgroup,
    own_users,
    own_network,
    own_name,
    own_pids,
    own_mounts,
    own_root,
    few_capabilities,
    own_filter,
)
"""All of them, in an order that the kernel accepts."""
