"""Who said no? Several guards stand before a privileged system call; each is tried alone.

They are the seccomp filter; a capability; and whether that counts, which for many calls it does
only in the initial user namespace. Last the call itself looks at its arguments. The errno does not
tell who refused: most guards say EPERM. So the call is made by children for which all other guards
are open. Who is asked first is tried, too: is it the filter whose errno comes out?

A Linux security module (AppArmor, SELinux) may stand there as well. Its label is read, no more.

The arguments are such that nothing happens even where all guards are open:

- reboot(2) without the magic numbers: EINVAL. mount(2) without a type: EINVAL.
- quotactl(2) asks for the quota of a user who has none: ESRCH.
- sethostname(2) of a name that is too long: EINVAL. swapon(2) of a file that is not there: ENOENT.
- clock_settime(2) to 1970, which is before this machine was started: EINVAL since Linux 4.3.
- keyctl(2) asks for the number of the session's keyring.
- unshare(2), chroot(2) to `/`, and ptrace(2) succeed, and are undone when the child ends.

One call is made for good: `reboot_inside` a PID namespace, where the kernel ends that namespace's
PID 1, and nothing else.
"""

import errno
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import LabError
from labsupport.kernel.capabilities import capabilities, capability_mask
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox
from labsupport.seccomp import prober
from labsupport.seccomp.filter import Filter
from labsupport.seccomp.syscall_table import number_of, unknown
from labsupport.seccomp.verdicts import PROBER, ask, errno_name

GUARDS = SECCOMP, CAPABILITY, NAMESPACE = "seccomp", "capability", "user namespace"
CALL = "the call itself"
NEEDS = {
    "reboot": "CAP_SYS_BOOT", "quotactl": "CAP_SYS_ADMIN", "mount": "CAP_SYS_ADMIN",
    "unshare": "CAP_SYS_ADMIN", "sethostname": "CAP_SYS_ADMIN", "swapon": "CAP_SYS_ADMIN",
    "clock_settime": "CAP_SYS_TIME", "keyctl": "", "ptrace": "CAP_SYS_PTRACE",
    "chroot": "CAP_SYS_CHROOT",
}  # fmt: skip
"""The calls that can be tried, with the capability that each asks for ("" for none)."""
SIGN = "EXDEV"
"""None of these calls fails with it: if a filter says it and it comes out, the filter was first."""


@dataclass(frozen=True)
class WhoSaidNo:
    """One call, and its errno by name ("" if it succeeded) with a single guard in its way.

    The keys of `errnos` are the guards, "everything" for all of them, "nothing" for none.
    `seccomp_first` is whether the filter answers although all other guards stand there, too.
    """

    call: str
    errnos: Mapping[str, str]
    seccomp_first: bool = True

    @property
    def errno(self) -> str:
        """What a program behind all the gates sees; "" if the call succeeds."""
        return self.errnos["everything"]

    @property
    def missing(self) -> bool:
        """Whether this kernel was built without the call: then there is nothing to guard."""
        return self.errnos["nothing"] == "ENOSYS"

    @property
    def closed(self) -> tuple[str, ...]:
        """The guards that refuse it, each by itself; the one that is asked first comes first."""
        # without the last, which refuses our harmless arguments on purpose
        alone = self.errnos["nothing"]
        shut = [guard for guard in GUARDS if self.errnos[guard] != alone]
        return tuple(shut if self.seccomp_first else [*shut[1:], *shut[:1]])

    def __repr__(self) -> str:
        first, *others = self.closed or ("nobody",)
        also = f", and {' and '.join(others)} would too" if others else ""
        return f"<{self.call}: {self.errno or 'success'}; {first} said no{also}>"


class Answers(list[WhoSaidNo]):
    """What became of several calls; `label` is a security module's, which was not tried."""

    def __init__(self, found: Iterable[WhoSaidNo], label: str = "") -> None:
        super().__init__(found)
        self.label = label

    def show(self, who: str = "") -> None:
        """Show each call's way through the gates; `who` is behind them, in words."""
        from labsupport.seccomp.pictures import Gates

        Gates(self, who, self.label).show()


def who_said_no(
    calls: Iterable[str] = tuple(NEEDS), *, of: int | None = None,
    filter: Filter | None = None,  # noqa: A002 (as Sandbox calls it)
    keep: Iterable[str] | None = None, own_user_namespace: bool | None = None,
    device: str | None = None,
) -> Answers:  # fmt: skip
    """Try calls behind guards, and in front of each of them alone. It needs root.

    Args:
        calls: some of `NEEDS`.
        of: a process whose guards these are; what else is given stands in place of its own.
        filter: the seccomp filters; without any, this gate is open.
        keep: the capabilities that are left; by default none.
        own_user_namespace: whether those are capabilities in a new user namespace only.
        device: for quotactl, a mounted block device whose file system could have quotas; by
            default one that is mounted. Without any, the call ends with ENOENT before its guards.

    Raises `LabError`: a call is not in `NEEDS`, or this process lacks capabilities itself.

    """
    wanted = _known(calls)
    if not isinstance(filter, Filter | None):
        raise LabError(f"{filter!r} is not a filter", "", 'filter=Filter.deny(["mkdir"])')
    if of is not None:
        filter = Filter.of(of) if filter is None else filter  # noqa: A001
        keep = capabilities(of).effective if keep is None else keep
        if own_user_namespace is None:
            own_user_namespace = prober.namespace(of, "user") != prober.namespace("self", "user")
    _require({NEEDS[name] for name in wanted})
    programs = list(filter.programs) if filter else []
    tries = _behind(programs, wanted, keep or (), bool(own_user_namespace))
    answers = Answers([], label_of("self" if of is None else of))
    outcomes = _ask(wanted, tries.values(), device or _some_device())
    for name, *numbers in zip(wanted, *outcomes, strict=True):
        errnos = dict(zip(tries, map(_word, numbers), strict=True))
        first = errnos.pop(SIGN) in (SIGN, "killed")
        answers.append(WhoSaidNo(name, errnos, first))
    return answers


def _behind(
    programs: list[bytes], wanted: Sequence[str], keep: Iterable[str], inner: bool
) -> dict[str, tuple[list[bytes], int, bool]]:
    """Return what to try the calls behind: filters, capabilities, and a new user namespace or not.

    Behind `SIGN`, one more filter answers: whoever hears that was asked by seccomp first.
    """
    signs = [*programs, *Filter.deny(wanted, SIGN).programs]
    kept, everything = capability_mask(keep), capability_mask(capabilities().permitted)
    return {
        "everything": (programs, kept, inner),
        "nothing": ([], everything, False),
        SECCOMP: (programs, everything, False),
        CAPABILITY: ([], kept, False),
        NAMESPACE: ([], everything, inner),
        SIGN: (signs, kept, inner),
    }


def label_of(pid: int | str) -> str:
    """What AppArmor or SELinux calls a process, as in "docker-default (enforce)".

    "" if this kernel keeps no labels: then neither is here.
    """
    try:
        return Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        return ""


def _known(calls: Iterable[str]) -> tuple[str, ...]:
    wanted = (calls,) if isinstance(calls, str) else tuple(calls)
    for name in wanted:
        if name not in NEEDS:
            what = "harmless way to try the system call"
            raise unknown(what, name, NEEDS, f"these can be tried: {', '.join(NEEDS)}")
    return wanted


def _require(needed: set[str]) -> None:
    if lacking := needed - {""} - capabilities().effective:
        why = f"this process lacks {', '.join(sorted(lacking))}, so those gates cannot be opened"
        remedy = 'be root on the machine, or choose the kernel "Lab VM" for this notebook'
        raise LabError("who said no cannot be found out here", why, remedy)


def _ask(
    calls: Sequence[str], tries: Iterable[tuple[list[bytes], int, bool]], device: str
) -> list[list[int]]:
    request = {
        "calls": [[name, number_of(name)] for name in calls],
        "combinations": [
            {"programs": [each.hex() for each in programs], "kept": kept, "inner": inner}
            for programs, kept, inner in tries
        ],
        "device": device,
    }
    answers: list[list[int]] = ask("try_guards", request, "the calls could not be tried")
    return answers


def _word(number: int) -> str:
    if number == prober.NOT_MADE:
        return "killed"
    return errno_name(number) if number else ""


def _some_device() -> str:
    """A block device with a file system that knows quotas, if one is mounted."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for device, _, kind, *_ in map(str.split, lines):
        if device.startswith("/dev/") and kind in ("ext4", "xfs") and os.path.exists(device):
            return device
    return prober.NOWHERE.decode()


def reboot_inside(box: Sandbox) -> None:
    """Enter a sandbox and call `reboot` there, for good; reboot(2).

    Afterwards the sandbox's PID 1 has ended by SIGHUP, which stands for "restart", and with it all
    others. This happens only in a sandbox with new PID *and* user namespaces. Which they are is
    compared from outside and, right before the call, from inside; and the kernel itself asks for
    CAP_SYS_BOOT in the user namespace that owns the PID namespace: a process that has it only in a
    new one has no power over the machine.

    Raises `LabError`: the sandbox has no PID and user namespaces of its own, and nothing was done;
    or the call failed, and the message says how.
    """
    meant = {kind: prober.namespace(box.pid, kind) for kind in ("user", "pid")}
    for kind, inode in meant.items():
        if inode == prober.namespace("self", kind):
            why = f"the sandbox has no {kind} namespace of its own"
            remedy = 'make it with Sandbox(new={"user", "pid", "mount"})'
            raise LabError("reboot is not called", why, remedy)
    done = subprocess.run(
        marks.lean(PROBER, "reboot", str(box.pid), *map(str, meant.values())),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError("reboot was not called", done.stderr.strip().splitlines()[-1])
