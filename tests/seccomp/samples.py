"""Pictures of this room, from plain data; and filters that look at arguments."""

import os
from ctypes import Structure, c_int, c_uint, c_uint64, c_void_p

from labsupport.kernel.capabilities import CapabilitySets
from labsupport.seccomp import filter as libseccomp
from labsupport.seccomp.filter import SCMP_ACT_ALLOW, Filter, act_errno
from labsupport.seccomp.guards import CAPABILITY, GUARDS, SECCOMP, WhoSaidNo
from labsupport.seccomp.pictures import Gates, Grid
from labsupport.seccomp.syscall_table import number_of

NOT, EQUAL, MORE, MASKED = 1, 4, 6, 7
"""Comparisons of seccomp.h."""


class Comparison(Structure):
    """`struct scmp_arg_cmp`: which argument is compared, how, and with what."""

    _fields_ = [("arg", c_uint), ("op", c_int), ("datum_a", c_uint64), ("datum_b", c_uint64)]


def filtered(*rules, default=SCMP_ACT_ALLOW):
    """Build a filter of (action, name of a call, comparisons that must hold)."""
    library, fd = libseccomp._library(), os.memfd_create("filter")
    context = c_void_p(library.seccomp_init(default))
    for action, name, *conditions in rules:
        compared = (Comparison * len(conditions))(*(Comparison(*each) for each in conditions))
        number = number_of(name)
        assert not library.seccomp_rule_add_array(
            context, action, number, len(conditions), compared
        )
    assert not library.seccomp_export_bpf(context, fd)
    program = os.pread(fd, os.fstat(fd).st_size, 0)
    library.seccomp_release(context)
    os.close(fd)
    return Filter((program,))


def chain(call, errno, *closed, end="EINVAL", first=True):
    alone = {guard: "EPERM" if guard in closed else end for guard in GUARDS}
    return WhoSaidNo(call, {"everything": errno, "nothing": end, **alone}, first)


FOUND = [
    chain("reboot", "EPERM", SECCOMP, CAPABILITY),
    chain("ptrace", "EPERM", CAPABILITY, end=""),
    chain("keyctl", "", end=""),
    chain("swapon", "EPERM", SECCOMP, end="ENOSYS"),
]
GATES = Gates(FOUND, label="docker-default (enforce)")
KNOWN = ("CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN")


def sets(effective, bounding=None, *, uid=0, no_new_privs=False):
    has = frozenset(effective)
    could = has if bounding is None else frozenset(bounding)
    return CapabilitySets(
        has, has, frozenset(), could, frozenset(), no_new_privs, "off", uid, KNOWN
    )


WHO = {
    "notebook": sets(KNOWN),
    "container": sets({"CAP_CHOWN"}),
    "a user": sets((), KNOWN, uid=1000),
    "no way up": sets((), KNOWN, uid=1000, no_new_privs=True),
}
DENIED = ["mount", "reboot", "keyctl"]
GRID = Grid(
    filtered(
        *((act_errno(1), name) for name in DENIED), (act_errno(1), "socket", (0, EQUAL, 40))
    ).verdicts(),
    "docker run",
)

PAGES = {
    "gates": lambda: (GATES.page(), GATES.words(), GATES.table()),
    "grid": lambda: (GRID.page(), GRID.words(), GRID.table()),
}
