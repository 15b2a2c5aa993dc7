"""What happens to a system call under filters: an action, an errno, and what it depends on."""

from __future__ import annotations

import errno as errors
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from labsupport.linux.filters import bpf, judging
from labsupport.linux.filters.bpf import Instruction
from labsupport.linux.filters.conditions import arguments_in, in_words
from labsupport.linux.filters.judging import Path
from labsupport.linux.filters.syscall_table import audit_arch, group_of, names

# linux/seccomp.h, from the most to the least restrictive
KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
USER_NOTIF = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000
ACTION_FULL = 0xFFFF0000
DATA = 0x0000FFFF
MAX_ERRNO = 4095

ACTIONS = {
    KILL_PROCESS: "kill", KILL_THREAD: "kill", TRAP: "trap", ERRNO: "errno",
    USER_NOTIF: "notify", TRACE: "trace", LOG: "log", ALLOW: "allow",
}  # fmt: skip
_SAID = {
    "allow": "allowed", "log": "allowed, and logged", "kill": "the process is killed",
    "trap": "the process gets SIGSYS", "notify": "a supervisor is asked",
    "trace": "a tracer is asked",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What happens to a call if its arguments are as `when` says; "" for all others."""

    when: str
    action: str
    errno: str | None = None

    def __str__(self) -> str:
        return f"{said(self.action, self.errno)} {'if ' + self.when if self.when else 'otherwise'}"


@dataclass(frozen=True)
class Verdict:
    """What filters say about one system call.

    `action` is "allow", "errno", "kill", "trap", "trace", "notify" or "log", `errno` a name such as
    "EPERM" (None unless the action is "errno"). If the verdict depends on arguments,
    `depends_on_arguments` has their places, from 0, and `cases` says which values lead where; then
    `action` and `errno` are for a call whose arguments are all 0. `group` is what it is about.
    """

    number: int
    name: str
    action: str
    errno: str | None = None
    depends_on_arguments: tuple[int, ...] = ()
    cases: tuple[Case, ...] = ()
    group: str = "other"

    @property
    def kind(self) -> str:
        """One of "allowed", "depends" and "denied"."""
        if self.depends_on_arguments:
            return "depends"
        return "allowed" if self.action in ("allow", "log") else "denied"

    @property
    def reason(self) -> str:
        """The verdict in words."""
        if self.cases:
            return "; ".join(map(str, self.cases))
        return said(self.action, self.errno)


def said(action: str, errno: str | None) -> str:
    """Say an action in words."""
    return f"refused with {errno}" if action == "errno" else _SAID[action]


def action_of(answer: int) -> tuple[str, str | None]:
    """Return the action and errno that a filter's answer stands for."""
    action = ACTIONS.get(answer & ACTION_FULL, "kill")  # so does the kernel
    if action != "errno":
        return action, None
    number = min(answer & DATA, MAX_ERRNO)
    return action, errors.errorcode.get(number, f"errno {number}")


def strictest(answers: Iterable[int]) -> int:
    """Of the answers of several filters, newest first, the one that the kernel follows.

    It is the most restrictive action; among equals, the answer of the newest filter.
    """
    return min([*answers, ALLOW], key=_severity)


def _severity(answer: int) -> int:
    action = answer & ACTION_FULL
    return action - 2**32 if action & 0x80000000 else action  # the kernel compares signed numbers


def judge(programs: Sequence[Sequence[Instruction]], number: int) -> Verdict:
    """Judge one system call under filters, oldest first, for all arguments at once."""
    architecture = audit_arch()
    ways = _combined([judging.paths(each, number, architecture) for each in reversed(programs)])
    name = names().get(number, f"system call {number}")
    if len({answer for _, answer in ways}) == 1:
        action, errno = action_of(ways[0].answer)
        return Verdict(number, name, action, errno, group=group_of(name))
    places = arguments_in(condition for way in ways for condition in way.conditions)
    action, errno = action_of(answer(programs, number, ()))
    return Verdict(number, name, action, errno, places, tuple(_cases(ways)), group_of(name))


def answer(programs: Sequence[Sequence[Instruction]], number: int, arguments: Sequence[int]) -> int:
    """What filters, oldest first, answer to a call with these arguments."""
    call = bpf.data(number, audit_arch(), arguments)
    return strictest(bpf.run(program, call) for program in reversed(programs))


def _combined(each: list[list[Path]]) -> list[Path]:
    """The ways through all filters together."""
    if len(each) == 1:
        return each[0]
    return [
        Path(
            tuple(condition for path in combination for condition in path.conditions),
            strictest(path.answer for path in combination),
        )
        for combination in product(*each)
    ]


def _cases(ways: Sequence[Path]) -> Iterator[Case]:
    """The ways by what they lead to; the outcome of the way on which no test held comes last."""
    rest = min(ways, key=lambda way: sum(condition.holds for condition in way.conditions)).answer
    when: dict[int, list[str]] = {}
    for way in ways:
        if way.answer != rest:
            when.setdefault(way.answer, []).append(in_words(way.conditions))
    for outcome, texts in when.items():
        yield Case(" or ".join(dict.fromkeys(texts)), *action_of(outcome))
    yield Case("", *action_of(rest))
