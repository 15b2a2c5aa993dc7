"""Two independent ways to learn what filters do, compared: reading them, and trying every call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from labsupport.linux.filters import attempts, judging
from labsupport.linux.filters.attempts import Call, Trial
from labsupport.linux.filters.bpf import Instruction, decode
from labsupport.linux.filters.conditions import arguments_in
from labsupport.linux.filters.syscall_table import audit_arch
from labsupport.linux.filters.verdicts import action_of, answer

MOST_SAMPLES = 200  # of one system call


@dataclass(frozen=True)
class Disagreement:
    """A call for which the two ways differ: what was read from the filters, and what happened."""

    read_action: str
    read_errno: str | None
    trial: Trial


@dataclass(frozen=True)
class Agreement:
    """Every trial, and those that did not go as the filters read."""

    trials: tuple[Trial, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def calls(self) -> int:
        """How many system calls were tried."""
        return len({trial.number for trial in self.trials})

    def __repr__(self) -> str:
        tried = f"{len(self.trials)} trials of {self.calls} system calls"
        if not self.disagreements:
            return f"<{tried}: reading and trying agree on all>"
        names = ", ".join(sorted({each.trial.name for each in self.disagreements}))
        return f"<{tried}: reading and trying differ on {names}>"


def compare(programs: Sequence[bytes]) -> Agreement:
    """Try every system call under filters, and compare with what the filters say.

    A call whose verdict depends on arguments is tried with values on all sides of each test.
    """
    decoded = [decode(program) for program in programs]
    calls = [call for each in attempts.every_call() for call in samples(decoded, each[0])]
    return judged(decoded, attempts.try_calls(programs, calls))


def judged(programs: Sequence[Sequence[Instruction]], trials: Sequence[Trial]) -> Agreement:
    """Compare trials with what filters, oldest first, answer to the same calls."""
    differ = []
    for trial in trials:
        read = action_of(answer(programs, trial.number, attempts.arguments_of(trial)))
        if _as_seen(*read) != (trial.action, trial.errno):
            differ.append(Disagreement(*read, trial))
    return Agreement(tuple(trials), tuple(differ))


def samples(programs: Sequence[Sequence[Instruction]], number: int) -> list[Call]:
    """Return calls of one number, with arguments on all sides of the filters' tests."""
    conditions = [
        condition
        for program in programs
        for path in judging.paths(program, number, audit_arch())
        for condition in path.conditions
    ]
    values: list[list[int]] = [[0] for _ in range(5)]
    for place in arguments_in(conditions):
        if place < len(values):  # the sixth carries the mark
            values[place] = sorted({0, *_sides(conditions, place)})
    return [(number, choice) for choice in product(*values)][:MOST_SAMPLES]


def _sides(conditions: Sequence[judging.Condition], place: int) -> Iterator[int]:
    """Values below, at and above each constant, and with each of its bits; in either half."""
    for condition in conditions:
        if place not in arguments_in([condition]):
            continue
        numbers = [condition.constant, *_masks(condition.value)]
        for number in (each for each in numbers if isinstance(each, int)):
            bits = [1 << bit for bit in range(32) if number >> bit & 1]
            for low in (number - 1, number, number + 1, *bits):
                yield low & 0xFFFFFFFF
                yield (low & 0xFFFFFFFF) << 32


def _masks(value: judging.Value) -> Iterator[judging.Value]:
    if isinstance(value, tuple) and value[0] == "alu":
        yield from value[2:]


def _as_seen(action: str, errno: str | None) -> tuple[str, str | None]:
    """How an action looks to who makes the call, where nobody logs, traces or supervises."""
    if action in ("log", "trace"):  # less strict than the question about a marked call
        return "allow", None
    return ("errno", "ENOSYS") if action == "notify" else (action, errno)
