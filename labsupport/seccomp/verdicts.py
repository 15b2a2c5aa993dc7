"""What happens to a system call under filters: read from the filters, and tried.

Reading says it for all arguments at once: an action, an errno, and what it depends on. Trying is
done by a helper process, where no call is really made. The two ways are independent of each other.
"""

import errno as errors
import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from labsupport.errors import LabError, TimedOut
from labsupport.ownership import marks
from labsupport.seccomp import bpf, prober
from labsupport.seccomp.bpf import Instruction, Path, arguments_in, decode, in_words
from labsupport.seccomp.syscall_table import BYPASS_SECCOMP, audit_arch, group_of, names

# linux/seccomp.h, from the most to the least restrictive
ACTIONS = {
    0x80000000: "kill",
    0x00000000: "kill",  # the thread alone
    0x00030000: "trap",
    0x00050000: "errno",
    0x7FC00000: "notify",
    0x7FF00000: "trace",
    0x7FFC0000: "log",
    0x7FFF0000: "allow",
}
ALLOW = 0x7FFF0000
ACTION_FULL = 0xFFFF0000
DATA = 0x0000FFFF
MAX_ERRNO = 4095
SECONDS = 60
PROBER = "labsupport.seccomp.prober"
MOST_SAMPLES = 200  # of one system call
_SAID = {
    "allow": "allowed",
    "log": "allowed, and logged",
    "kill": "the process is killed",
    "trap": "the process gets SIGSYS",
    "notify": "a supervisor is asked",
    "trace": "a tracer is asked",
}
Call = tuple[int, tuple[int, ...]]
"""A system call's number and its first five arguments; the sixth is our mark."""


@dataclass(frozen=True)
class Verdict:
    """What filters say about one system call.

    `action` is "allow", "errno", "kill", "trap", "trace", "notify" or "log", `errno` a name such as
    "EPERM" (None unless the action is "errno"). `reason` says it in words. If it depends on
    arguments, `depends_on_arguments` has their places, from 0, and `reason` says which values lead
    where; then `action` and `errno` are for a call whose arguments are all 0. `group` is what it is
    about.
    """

    number: int
    name: str
    action: str
    errno: str | None
    reason: str
    depends_on_arguments: tuple[int, ...] = ()
    group: str = "other"

    @property
    def kind(self) -> str:
        """One of "allowed", "depends" and "denied"."""
        if self.depends_on_arguments:
            return "depends"
        return "allowed" if self.action in ("allow", "log") else "denied"


def said(action: str, errno: str | None) -> str:
    """Say an action in words."""
    return f"refused with {errno}" if action == "errno" else _SAID[action]


def answer_in_words(answer: int) -> str:
    """Say a filter's answer in words; seccomp(2): 0 kills the thread that called, and no other."""
    return said(*action_of(answer)) if answer & ACTION_FULL else "the thread is killed"


def errno_name(number: int) -> str:
    """Name an error, as in "EPERM"."""
    return errors.errorcode.get(number, f"errno {number}")


def action_of(answer: int) -> tuple[str, str | None]:
    """Return the action and errno that a filter's answer stands for."""
    action = ACTIONS.get(answer & ACTION_FULL, "kill")  # so does the kernel
    return action, errno_name(min(answer & DATA, MAX_ERRNO)) if action == "errno" else None


def strictest(answers: Iterable[int]) -> int:
    """Of the answers of several filters, newest first, the one that the kernel follows."""
    # it is the most restrictive action; among equals, the answer of the newest filter
    return min([*answers, ALLOW], key=_severity)


def _severity(answer: int) -> int:
    action = answer & ACTION_FULL
    return action - 2**32 if action & 0x80000000 else action  # the kernel compares signed numbers


def judge(programs: Sequence[Sequence[Instruction]], number: int) -> Verdict:
    """Judge one system call under filters, oldest first, for all arguments at once."""
    ways = _combined([bpf.paths(each, number, audit_arch()) for each in reversed(programs)])
    name = _name(number)
    first = answer(programs, number, ())
    action, errno = action_of(first)
    if len({way.answer for way in ways}) == 1:
        return Verdict(number, name, action, errno, answer_in_words(first), group=group_of(name))
    places = arguments_in(condition for way in ways for condition in way.conditions)
    return Verdict(number, name, action, errno, "; ".join(_cases(ways)), places, group_of(name))


def answer(programs: Sequence[Sequence[Instruction]], number: int, arguments: Sequence[int]) -> int:
    """What filters, oldest first, answer to a call with these arguments."""
    return strictest(
        bpf.run(program, number, audit_arch(), arguments) for program in reversed(programs)
    )


def _name(number: int) -> str:
    return names().get(number, f"system call {number}")


def _combined(each: list[list[Path]]) -> list[Path]:
    """The ways through all filters together."""
    return [
        Path(
            tuple(condition for path in combination for condition in path.conditions),
            strictest(path.answer for path in combination),
        )
        for combination in product(*each)
    ]


def _cases(ways: Sequence[Path]) -> Iterator[str]:
    """The ways by what they lead to; the outcome of the way on which no test held comes last."""
    rest = min(ways, key=lambda way: sum(condition.holds for condition in way.conditions)).answer
    when: dict[int, list[str]] = {}
    for way in ways:
        if way.answer != rest:
            when.setdefault(way.answer, []).append(in_words(way.conditions))
    for outcome, texts in when.items():
        yield f"{answer_in_words(outcome)} if {' or '.join(dict.fromkeys(texts))}"
    yield f"{answer_in_words(rest)} otherwise"


@dataclass(frozen=True)
class Trial:
    """What really happened to a call.

    `action` is "allow" (the filters let it pass), "errno", or "kill" (it was ended by SIGSYS);
    `errno` is a name such as "EPERM".
    """

    number: int
    name: str
    arguments: tuple[int, ...]
    action: str
    errno: str | None = None


def ask(function: str, request: object, what: str) -> Any:
    """Give a request to a function of `prober`, in its own process, and return its answer.

    Raises `LabError`: it failed, as where no filter can be loaded; `what` was not done.
    """
    try:
        done = subprocess.run(
            marks.lean(PROBER, function), input=json.dumps(request), capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TimedOut(what, f"there was no answer within {SECONDS} s") from error
    return understood(done.stdout, done.stderr, what)


def understood(answer: str, complaint: str, what: str) -> Any:
    """Return what a helper process has answered, or raise its complaint as a LabError."""
    if not answer:
        raise LabError(what, (complaint.strip().splitlines() or ["it said nothing"])[-1])
    return json.loads(answer)


def every_call() -> list[Call]:
    """Each system call of this kernel, with arguments that are all 0."""
    # without two: uprobe and uretprobe ignore filters, and end a process that makes them unasked
    return [(n, (0,) * 5) for n, name in names().items() if name not in BYPASS_SECCOMP]


def try_calls(programs: Iterable[bytes], calls: Sequence[Call]) -> list[Trial]:
    """Try calls in a child under filters, oldest first; see `ask` for errors."""
    request = {"programs": [program.hex() for program in programs], "calls": calls}
    outcomes = ask("try_calls", request, "system calls could not be tried")
    return [
        Trial(number, _name(number), arguments, *_meaning(outcome))
        for (number, arguments), outcome in zip(calls, outcomes, strict=True)
    ]


def _meaning(outcome: int) -> tuple[str, str | None]:
    words = {prober.PASSED: "allow", prober.KILLED: "kill"}
    if outcome in words:
        return words[outcome], None
    return "errno", errno_name(max(outcome, 0))


@dataclass(frozen=True)
class Agreement:
    """Every trial, and those that did not go as the filters read."""

    trials: tuple[Trial, ...]
    disagreements: tuple[Trial, ...]

    @property
    def calls(self) -> int:
        """How many system calls were tried."""
        return len({trial.number for trial in self.trials})

    def __repr__(self) -> str:
        tried = f"{len(self.trials)} trials of {self.calls} system calls"
        if not self.disagreements:
            return f"<{tried}: reading and trying agree on all>"
        names = ", ".join(sorted({each.name for each in self.disagreements}))
        return f"<{tried}: reading and trying differ on {names}>"


def compare(programs: Sequence[bytes]) -> Agreement:
    """Try every system call under filters, and compare with what the filters say."""
    # a call whose verdict depends on arguments is tried with values on all sides of each test
    decoded = [decode(program) for program in programs]
    calls = [call for each in every_call() for call in samples(decoded, each[0])]
    return judged(decoded, try_calls(programs, calls))


def judged(programs: Sequence[Sequence[Instruction]], trials: Sequence[Trial]) -> Agreement:
    """Compare trials with what filters, oldest first, answer to the same calls."""
    differ = []
    for trial in trials:
        read = action_of(answer(programs, trial.number, (*trial.arguments, prober.MARK)))
        if _as_seen(*read) != (trial.action, trial.errno):
            differ.append(trial)
    return Agreement(tuple(trials), tuple(differ))


def _as_seen(action: str, errno: str | None) -> tuple[str, str | None]:
    """How an action looks to a caller that does not handle SIGSYS, where ours refuses the rest."""
    if action in ("log", "trace", "notify"):  # less strict than our own answer
        return "allow", None
    return ("kill", None) if action == "trap" else (action, errno)


def samples(programs: Sequence[Sequence[Instruction]], number: int) -> list[Call]:
    """Return calls of one number, with arguments on all sides of the filters' tests."""
    conditions = [
        condition
        for program in programs
        for path in bpf.paths(program, number, audit_arch())
        for condition in path.conditions
    ]
    values: list[list[int]] = [[0] for _ in range(5)]
    for place in arguments_in(conditions):
        if place < len(values):  # the sixth carries the mark
            values[place] = sorted({0, *_sides(conditions, place)})
    return [(number, choice) for choice in product(*values)][:MOST_SAMPLES]


def _sides(conditions: Sequence[bpf.Condition], place: int) -> Iterator[int]:
    """Values below, at and above each constant, and with each of its bits; in either half."""
    for condition in (each for each in conditions if place in arguments_in([each])):
        for number in (condition.constant, *{condition.value.mask} - {bpf.WORD}):
            bits = [1 << bit for bit in range(32) if number >> bit & 1]
            for low in (number - 1, number, number + 1, *bits):
                yield low & 0xFFFFFFFF
                yield (low & 0xFFFFFFFF) << 32
