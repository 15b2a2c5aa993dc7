"""The privileges of a process by name: the pieces that root's power is divided into.

Every process has five sets of them; capabilities(7). A capability that is newer than this file is
called CAP_ and its number.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import LabError, nearest
from labsupport.kernel.procfs import status_fields

SETS = ("permitted", "effective", "inheritable", "bounding", "ambient")
_FIELDS = dict(zip(SETS, ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb"), strict=True))
_MODES = {"0": "off", "1": "strict", "2": "filter"}
_KNOWN = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""  # by their numbers from 0, as in linux/capability.h


@dataclass(frozen=True)
class CapabilitySets:
    """The capabilities of a process, as names such as "CAP_CHOWN".

    `effective` are those that count now, `permitted` those it may make effective, `bounding` caps
    what it can ever gain by execve, `inheritable` and `ambient` are kept across execve.
    `no_new_privs`: set-uid programs and file capabilities give it nothing. `seccomp` is "off",
    "strict" or "filter"; `uid` is its effective user, as this side calls it. `known` are all that
    this kernel has, by their numbers.
    """

    permitted: frozenset[str]
    effective: frozenset[str]
    inheritable: frozenset[str]
    bounding: frozenset[str]
    ambient: frozenset[str]
    no_new_privs: bool
    seccomp: str
    uid: int
    known: tuple[str, ...]

    def __repr__(self) -> str:
        total = len(self.known)
        parts = [f"{name} {_words(getattr(self, name), total)}" for name in SETS]
        flag = "no_new_privs" if self.no_new_privs else "new privileges possible"
        return f"<user {self.uid}: {', '.join(parts)}; {flag}; seccomp {self.seccomp}>"


def capabilities(pid: int | str = "self") -> CapabilitySets:
    """Read the capability sets of a process, by default of this one. Raises `ProcessGone`."""
    fields = status_fields(pid)
    sets = {name: frozenset(decode(int(fields[key], 16))) for name, key in _FIELDS.items()}
    return CapabilitySets(
        **sets, no_new_privs=fields["NoNewPrivs"] == "1", seccomp=_MODES[fields["Seccomp"]],
        uid=int(fields["Uid"].split()[1]), known=names(),
    )  # fmt: skip


@functools.cache
def names() -> tuple[str, ...]:
    """Return the capabilities that this kernel knows, by their numbers from 0."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return tuple(_name(number) for number in range(last + 1))


def decode(mask: int) -> list[str]:
    """Return the names in a set that is given as bits, as /proc/PID/status has it."""
    newer = map(_name, range(len(names()), mask.bit_length()))
    return [name for number, name in enumerate([*names(), *newer]) if mask >> number & 1]


def capability_mask(wanted: Iterable[str]) -> int:
    """Return a set as bits. "CAP_NET_ADMIN", "net_admin" and "NET_ADMIN" are the same.

    Raises `LabError`: this kernel has none with that name; the message has the nearest.
    """
    known = {name: number for number, name in enumerate(names())}
    mask = 0
    for word in [wanted] if isinstance(wanted, str) else wanted:
        name = "CAP_" + word.upper().removeprefix("CAP_")
        if name not in known:
            raise LabError(f"Linux has no capability {name!r}", nearest(name, known))
        mask |= 1 << known[name]
    return mask


def _words(members: frozenset[str], total: int) -> str:
    if not members:
        return "none"
    return "all" if len(members) == total else f"{len(members)} of {total}"


def _name(number: int) -> str:
    known = _KNOWN.split()
    return f"CAP_{known[number] if number < len(known) else number}"
