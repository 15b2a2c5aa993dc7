"""Several attempts in a sandbox, and what the kernel answered to each, as one table."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labsupport.completed import Completed


class Runs(Protocol):
    """What is needed of a sandbox: that programs can run in it."""

    def run(self, argv: Sequence[str | os.PathLike[str]]) -> Completed: ...


@dataclass(frozen=True)
class Answer:
    """An attempt in words, and how its program ended."""

    what: str
    done: Completed

    @property
    def allowed(self) -> bool:
        """Whether the program succeeded."""
        return self.done.returncode == 0

    @property
    def said(self) -> str:
        """The refusal as the program reported it, in one line."""
        return (self.done.stderr.strip().splitlines() or ["no"])[0]


@dataclass(frozen=True)
class Answers:
    """All the answers, in the order of the attempts."""

    answers: tuple[Answer, ...]

    @property
    def allowed(self) -> list[str]:
        """The attempts that succeeded, in words."""
        return [each.what for each in self.answers if each.allowed]

    @property
    def refused(self) -> list[str]:
        """The attempts that did not."""
        return [each.what for each in self.answers if not each.allowed]

    def __repr__(self) -> str:
        return "\n".join(
            f"{'✓ yes' if each.allowed else '✗ no '}  {each.what}"
            + ("" if each.allowed else f"  ({each.said})")
            for each in self.answers
        )

    def _repr_html_(self) -> str:
        rows = "".join(_row(each) for each in self.answers)
        return (
            "<table style='font-size:1em'><tr><th scope='col'></th>"
            "<th scope='col' style='text-align:left'>attempt</th>"
            f"<th scope='col' style='text-align:left'>answer</th></tr>{rows}</table>"
        )


def attempts(box: Runs, tries: Mapping[str, Sequence[str]]) -> Answers:
    """Run each program of `{what it attempts: arguments}` in `box`, and keep the answers."""
    return Answers(tuple(Answer(what, box.run(argv)) for what, argv in tries.items()))


def _row(each: Answer) -> str:
    colour, mark = ("#009E73", "✓ yes") if each.allowed else ("#D55E00", "✗ no")
    said = "" if each.allowed else f"<code>{html.escape(each.said)}</code>"
    return (
        f"<tr><td style='border-left:5px solid {colour};white-space:nowrap'><b>{mark}</b></td>"
        f"<td style='text-align:left'>{html.escape(each.what)}</td>"
        f"<td style='text-align:left'>{said}</td></tr>"
    )
