"""Exercises: the student changes the system, and a check looks at the state of the kernel.

An exercise is a class in a module of its notebook, such as `labsupport.pid.exercises`. Its task is
varied by a seed, so that neighbours get different answers; the check says what it saw.
"""

from __future__ import annotations

import html
import random
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from typing import ClassVar

from labsupport.course import progress
from labsupport.errors import LabError, ProgressNotKept
from labsupport.figure.table import marked
from labsupport.kernel.procfs import tries

ROOMS = {
    "01": "race", "02": "pid", "03": "mount", "04": "net", "05": "users", "06": "cgroup",
    "07": "seccomp", "08": "handmade", "09": "build", "10": "image", "11": "registry",
    "12": "machine", "13": "recap", "14": "ebpf",
}  # fmt: skip
"""The rooms whose `exercises` modules have those of the notebooks."""
AGAIN = "Start again with exercise.start()."
"""What a verdict ends with where a mistake cannot be made good."""


@dataclass(frozen=True)
class Verdict:
    """What a check found: whether the task is done, and what it saw.

    `lost` says why the verdict could not be kept among the student's progress, if so.
    """

    passed: bool
    saw: str
    lost: str = ""

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        lost = f"\n({self.lost})" if self.lost else ""
        return f"{'Done ✓' if self.passed else 'Not yet'}: {self.saw}{lost}"

    def _repr_html_(self) -> str:
        colour = "#009E73" if self.passed else "#D55E00"
        lost = f"<br>({marked(self.lost)})" if self.lost else ""
        return (
            f"<div style='border-left:5px solid {colour};padding:.3em .8em'>"
            f"<b>{'Done ✓' if self.passed else 'Not yet'}</b>: {marked(self.saw)}{lost}</div>"
        )


@dataclass(frozen=True)
class Text:
    """Some words for the student: a task, a hint, a solution."""

    title: str
    body: str
    is_code: bool = False

    def __repr__(self) -> str:
        return f"{self.title}\n{self.body}"

    def _repr_html_(self) -> str:
        if self.is_code:
            inner = f"<pre style='margin:.4em 0'>{html.escape(self.body)}</pre>"
        else:
            inner = f"<p>{marked(self.body)}</p>"
        return f"<div><b>{html.escape(self.title)}</b>{inner}</div>"


class Exercise(ABC):
    """One exercise: `exercise = Exercise.of("02.1")`, then `start()`, work, `check()`.

    Subclasses name their `hints` (two, graded) and give `task`, `begin`, `look` and `answer`. The
    seed is drawn each time unless one is given; `exercise.seed` tells it.
    """

    name: ClassVar[str]
    hints: ClassVar[tuple[str, str]]
    moment: ClassVar[float] = 0.0
    """Seconds in which to look again: a process takes a moment to end, and another to start."""
    _last: ClassVar[Exercise | None] = None

    def __init__(self, seed: int | None = None) -> None:
        self.seed = random.SystemRandom().randrange(10_000) if seed is None else seed
        self.random = random.Random(self.seed)
        self._hints_given = 0
        self._solution_shown = False
        self._started = False
        self._began_at = progress.here()
        self.ends = ExitStack()
        """What `stop()` does; what `begin` makes puts its end there."""

    @staticmethod
    def of(name: str, seed: int | None = None) -> Exercise:
        """Find an exercise by its number, such as "02.1"; a `LabError` lists those there are."""
        room = ROOMS.get(name.partition(".")[0])
        known = exercises_of(room) if room else {}
        if name not in known:
            numbers = f"known: {', '.join(sorted(known))}" if known else ""
            raise LabError(f"there is no exercise {name!r}", numbers)
        return known[name](seed)

    def start(self) -> Text:
        """Set the scene and return the task; again: a fresh scene of the same seed.

        One scene at a time: that of the exercise before is taken down.
        """
        for each in (Exercise._last, self):
            if each:
                each.stop()
        Exercise._last = self
        self.random = random.Random(self.seed)
        self.begin()
        self._started = True
        self._began_at = progress.here()
        return Text(f"Exercise {self.name} (variant {self.seed})", self.task())

    def check(self) -> Verdict:
        """Look at the kernel's state and judge it. A crash of the check is never a pass.

        The verdict is kept among the student's progress, with the cells that led to it.
        """
        if not self._started:
            what = f"exercise {self.name} has not been started"
            raise LabError(what, remedy="run exercise.start() first")
        for _ in tries(self.moment):
            if verdict := self.look():
                break
        try:
            progress.note(
                progress.EXERCISE, name=self.name, seed=self.seed, passed=verdict.passed,
                saw=verdict.saw, answer=progress.since(self._began_at), hints=self._hints_given,
                solution_shown=self._solution_shown,
            )  # fmt: skip
        except ProgressNotKept as error:
            return replace(verdict, lost=str(error))
        return verdict

    def hint(self) -> Text:
        """Return the first hint, then the second."""
        number = min(self._hints_given, len(self.hints) - 1)
        self._hints_given = min(self._hints_given + 1, len(self.hints))
        return Text(f"Hint {number + 1} of {len(self.hints)}", self.hints[number])

    def solution(self) -> Text:
        """Return one way to do it, as code for a cell."""
        if not self._started:
            self.start()
        self._solution_shown = True
        return Text("One way to do it", self.answer(), is_code=True)

    def stop(self) -> None:
        """Take the scene down; its sandbox `box`, if it has one, is closed."""
        self._started = False
        if box := getattr(self, "box", None):
            box.close()
        self.ends.close()

    @abstractmethod
    def task(self) -> str:
        """Say what to do, with this variant's values."""

    @abstractmethod
    def begin(self) -> None:
        """Make what the exercise needs."""

    @abstractmethod
    def look(self) -> Verdict:
        """Judge the state of the kernel."""

    @abstractmethod
    def answer(self) -> str:
        """Code that solves this variant; the exercise is called `exercise` in it."""


def exercises_of(room: str) -> dict[str, type[Exercise]]:
    """Return the exercises of a room by their numbers."""
    there = vars(import_module(f"labsupport.{room}.exercises")).values()
    classes = (each for each in there if isinstance(each, type) and issubclass(each, Exercise))
    return {each.name: each for each in classes if "name" in vars(each)}
