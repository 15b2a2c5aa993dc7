"""The eight kinds of namespaces: the word we use, the file below /proc/PID/ns, the flag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labsupport.errors import UnknownNamespace
from labsupport.linux import syscalls as sc


@dataclass(frozen=True)
class Kind:
    """A kind of namespace (namespaces(7)); `option` is its long option of unshare(1)."""

    name: str
    file: str
    flag: int
    option: str
    isolates: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("user", "user", sc.CLONE_NEWUSER, "--user", "user and group numbers, capabilities"),
        Kind("mount", "mnt", sc.CLONE_NEWNS, "--mount", "the tree of mounted file systems"),
        Kind("pid", "pid", sc.CLONE_NEWPID, "--pid", "process numbers"),
        Kind("net", "net", sc.CLONE_NEWNET, "--net", "links, addresses, routes, ports"),
        Kind("uts", "uts", sc.CLONE_NEWUTS, "--uts", "host name"),
        Kind("ipc", "ipc", sc.CLONE_NEWIPC, "--ipc", "System V IPC, message queues"),
        Kind("cgroup", "cgroup", sc.CLONE_NEWCGROUP, "--cgroup", "the root of the cgroup tree"),
        Kind("time", "time", sc.CLONE_NEWTIME, "--time", "boot-time and monotonic clocks"),
    )
}


def kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    """Look names up, in the table's order.

    Raises:
        UnknownNamespace: a name is not one of the eight; the message lists them.

    """
    wanted = set(names)
    for name in sorted(wanted - set(KINDS)):
        raise UnknownNamespace(name, KINDS)
    return tuple(kind for name, kind in KINDS.items() if name in wanted)
