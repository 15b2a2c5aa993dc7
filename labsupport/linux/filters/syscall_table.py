"""The system calls of this kernel: numbers, names, and what they are about.

Names and numbers come from the kernel's own sources, by way of the package `system-calls`, which
follows each release. How far this kernel's table reaches is asked of the kernel.
"""

from __future__ import annotations

import errno
import functools
import os
from types import MappingProxyType

from labsupport.errors import UncoveredArchitecture, UnknownSystemCall
from labsupport.linux import syscalls as sc
from labsupport.linux.filters.syscall_groups import GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# linux/audit.h, by the name in uname(2); and what `system_calls` calls the architecture
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_TABLES = {"x86_64": "x86_64", "aarch64": "arm64"}
BYPASS_SECCOMP = frozenset({"uprobe", "uretprobe"})
"""Not for programs: the kernel writes them into processes it probes, and lets no filter see them.

Whoever makes them without being probed is ended by a signal.
"""


def audit_arch() -> int:
    """Return the number by which filters know this architecture.

    Raises:
        UncoveredArchitecture: it is none that we know.

    """
    machine = os.uname().machine
    if machine not in AUDIT_ARCH:
        raise UncoveredArchitecture(machine, AUDIT_ARCH)
    return AUDIT_ARCH[machine]


@functools.cache
def numbers() -> Mapping[str, int]:
    """Return {name: number} of this kernel's system calls, in the order of their numbers.

    Raises:
        UncoveredArchitecture: this machine's system calls are not in our table.

    """
    highest = _highest()
    return MappingProxyType({name: n for name, n in _published().items() if n <= highest})


@functools.cache
def names() -> Mapping[int, str]:
    """Return {number: name}."""
    return MappingProxyType({number: name for name, number in numbers().items()})


def number_of(name: str) -> int:
    """Return the number of a system call.

    A call that is younger than this kernel has one, too: a filter may name it.

    Raises:
        UnknownSystemCall: there is none of that name; the message names the nearest.

    """
    published = _published()
    if name not in published:
        raise UnknownSystemCall(name, published)
    return published[name]


def group_of(name: str) -> str:
    """Return what a system call is about: "files", "network" …, or "other"."""
    return _group_by_name().get(name, "other")


@functools.cache
def _group_by_name() -> dict[str, str]:
    return {name: group for group, members in GROUPS.items() for name in members.split()}


@functools.cache
def _published() -> dict[str, int]:
    """Every system call of the newest kernel that `system-calls` knows, by number."""
    import system_calls

    audit_arch()
    table = system_calls.syscalls().load_arch_table(_TABLES[os.uname().machine])
    return dict(sorted(table.items(), key=lambda item: item[1]))


@functools.cache
def _highest() -> int:
    """The highest number that this kernel knows, found by calling downwards from the newest.

    The arguments are such that every call refuses them at once. If we ourselves are under a filter,
    it may answer ENOSYS in the kernel's place: then the table ends where the filter's does.
    """
    for name, number in reversed(_published().items()):
        if name in BYPASS_SECCOMP or sc.refused_call(number) != errno.ENOSYS:
            return number
    return 0
