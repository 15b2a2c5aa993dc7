"""Who said no? Several guards stand before a privileged system call; each is tried alone.

In the kernel's order: the seccomp filter; a capability; whether the capability counts, which for
many calls it does only in the initial user namespace; and last the call itself, which looks at its
arguments. From the errno alone one cannot tell who refused: most guards say EPERM. So the call is
made by children for whom all other guards stand open, and the errno of each is compared.

The arguments are such that nothing happens even where all guards are open:

- reboot(2) without the magic numbers: EINVAL. mount(2) without a type: EINVAL.
- quotactl(2) asks for the quota of a user who has none: ESRCH.
- clock_settime(2) to 1970, which is before this machine was started: EINVAL since Linux 4.3.
- swapon(2) of a file that is not there: ENOENT. init_module(2) of an empty file: ENOEXEC.
- keyctl(2) asks for the number of the session's keyring.
- unshare(2) and ptrace(2) succeed, and are undone when the child ends.
"""

from __future__ import annotations

import errno as errors
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import TrialFailed, UnknownSystemCall
from labsupport.linux.capabilities import capabilities, capability_mask, decode
from labsupport.linux.filters import guard_trials
from labsupport.linux.filters.syscall_table import number_of
from labsupport.linux.seccomp import Filter

SECCOMP, CAPABILITY, NAMESPACE, CALL = "seccomp", "capability", "user namespace", "the call itself"
NEEDS = {
    "reboot": "CAP_SYS_BOOT", "quotactl": "CAP_SYS_ADMIN", "mount": "CAP_SYS_ADMIN",
    "unshare": "CAP_SYS_ADMIN", "ptrace": "CAP_SYS_PTRACE", "clock_settime": "CAP_SYS_TIME",
    "keyctl": "", "swapon": "CAP_SYS_ADMIN", "init_module": "CAP_SYS_MODULE",
}  # fmt: skip
"""The calls that can be tried, with the capability that each asks for ("" for none)."""
SECONDS = 60


@dataclass(frozen=True)
class Attempt:
    """A call that was made, and its errno by name ("" if it succeeded).

    `guard` is the one that stood alone in its way, "everything" if all did, "nothing" if none.
    """

    call: str
    guard: str
    errno: str


@dataclass(frozen=True)
class Gate:
    """A guard in the way of a call; `errno` is what it said. `by` says who that is."""

    guard: str
    closed: bool
    errno: str
    by: str


@dataclass(frozen=True)
class WhoSaidNo:
    """One call: its gates in the kernel's order, and the attempts from which they were found."""

    call: str
    gates: tuple[Gate, ...]
    attempts: tuple[Attempt, ...]

    @property
    def errno(self) -> str:
        """What the program sees that runs behind all the gates; "" if the call succeeds."""
        return self.attempts[0].errno

    @property
    def closed(self) -> tuple[str, ...]:
        """The guards that refuse it, each by itself, in the order in which they are passed.

        Without the last, which refuses our harmless arguments on purpose.
        """
        return tuple(gate.guard for gate in self.gates if gate.closed and gate.guard != CALL)

    def __repr__(self) -> str:
        first, *others = self.closed or ("nobody",)
        also = f", and {' and '.join(others)} would too" if others else ""
        return f"<{self.call}: {self.errno or 'success'}; {first} said no{also}>"


def who_said_no(
    calls: Iterable[str] = tuple(NEEDS),
    *,
    filter: Filter,  # noqa: A002 (as Sandbox calls it)
    keep: Iterable[str] = (),
    own_user_namespace: bool = False,
    device: str | None = None,
) -> list[WhoSaidNo]:
    """Try calls behind these guards, and in front of each of them alone. It takes root.

    Args:
        calls: some of `NEEDS`.
        filter: the seccomp filters, such as `Filter.of(pid)` of a container.
        keep: the capabilities that are left, such as `capabilities(pid).effective`.
        own_user_namespace: whether those are capabilities in a user namespace of one's own only.
        device: for quotactl, a mounted block device whose file system could have quotas; by
            default one that is mounted. Without any, the call ends with ENOENT before its guards.

    Raises:
        UnknownSystemCall: a call is none of `NEEDS`.
        TrialFailed: this process lacks the capabilities that the comparison takes.

    """
    wanted = _known(calls)
    kept = capability_mask(keep)
    _require({NEEDS[name] for name in wanted})
    everything = capability_mask(capabilities().permitted)
    programs = [program.hex() for program in filter.programs]
    tries = {
        "everything": (programs, kept, own_user_namespace),
        "nothing": ([], everything, False),
        SECCOMP: (programs, everything, False),
        CAPABILITY: ([], kept, False),
        NAMESPACE: ([], everything, own_user_namespace),
    }
    answers = _ask(wanted, tries.values(), device or _some_device())
    named = dict(zip(tries, answers, strict=True))
    return [
        _judged(name, {guard: errnos[at] for guard, errnos in named.items()}, decode(kept))
        for at, name in enumerate(wanted)
    ]


def _known(calls: Iterable[str]) -> tuple[str, ...]:
    wanted = (calls,) if isinstance(calls, str) else tuple(calls)
    for name in wanted:
        if name not in NEEDS:
            raise UnknownSystemCall(name, NEEDS)
    return wanted


def _require(needed: set[str]) -> None:
    lacking = needed - {""} - capabilities().effective
    if lacking:
        raise TrialFailed(
            "who said no cannot be found out here",
            f"this process lacks {', '.join(sorted(lacking))}, so those gates cannot be opened",
            'be root on the machine, or choose the kernel "Lab VM" for this notebook',
        )


def _ask(
    calls: Sequence[str], tries: Iterable[tuple[list[str], int, bool]], device: str
) -> list[list[int]]:
    keys = ("programs", "kept", "own_user_namespace")
    request = {
        "calls": [[name, number_of(name)] for name in calls],
        "combinations": [dict(zip(keys, each, strict=True)) for each in tries],
        "device": device,
    }
    home = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", guard_trials.PROGRAM, home], input=json.dumps(request),
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().splitlines() or ["it said nothing"]
        raise TrialFailed("the calls could not be tried", last[-1])
    answers: list[list[int]] = json.loads(done.stdout)
    return answers


def _judged(name: str, errnos: dict[str, int], kept: Sequence[str]) -> WhoSaidNo:
    attempts = tuple(Attempt(name, guard, _word(number)) for guard, number in errnos.items())
    return WhoSaidNo(name, tuple(_gates(name, errnos, kept)), attempts)


def _gates(name: str, errnos: dict[str, int], kept: Sequence[str]) -> Iterator[Gate]:
    """A guard is closed if it changes the outcome where all others stand open."""
    open_outcome = errnos["nothing"]
    needed = NEEDS[name]
    who = {
        SECCOMP: "the filter",
        CAPABILITY: f"{needed} is {'there' if needed in kept else 'missing'}" if needed
        else "none is needed",
        NAMESPACE: "it must be held in the initial user namespace",
    }  # fmt: skip
    for guard, by in who.items():
        closed = errnos[guard] != open_outcome
        counts = guard == NAMESPACE and not closed
        said = _word(errnos[guard]) if closed else ""
        yield Gate(guard, closed, said, "a privilege that is held counts here" if counts else by)
    refused = _word(open_outcome)
    yield Gate(CALL, bool(refused), refused, "our harmless arguments" if refused else "it is done")


def _word(number: int) -> str:
    if number == guard_trials.NOT_MADE:
        return "killed"
    return errors.errorcode.get(number, f"errno {number}") if number else ""


def _some_device() -> str:
    """A block device with a file system that knows quotas, if one is mounted."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for device, _, kind, *_ in map(str.split, lines):
        if device.startswith("/dev/") and kind in ("ext4", "xfs") and os.path.exists(device):
            return device
    return guard_trials.NOWHERE.decode()
