"""What has been done of what there is: the latest word on each exercise and each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labsupport.course import progress
from labsupport.course.catalogue import Chapter, chapters
from labsupport.course.progress import EXERCISE, PREDICTION, Event


@dataclass(frozen=True)
class Score:
    """One notebook's counts: how many questions and exercises there are, and what came of them.

    A question is `asked` once it was run; a guess that was left away counts as skipped, not as
    wrong. `tried` exercises have been checked at least once, `passed` ones have been solved.
    """

    number: str
    title: str
    file: str
    questions: int
    guessed: int
    met: int
    skipped: int
    exercises: int
    tried: int
    passed: int

    @property
    def begun(self) -> bool:
        """Whether anything of it has been done."""
        return bool(self.guessed or self.skipped or self.tried)


def scores(events: Iterable[Event] | None = None) -> list[Score]:
    """Count, for each notebook; by default from the student's own file.

    Raises:
        ProgressUnreadable: that file holds something else.

    """
    done = list(progress.events() if events is None else events)
    answers, verdicts = predictions(done), exercises(done)
    return [_score(chapter, answers, verdicts) for chapter in chapters()]


def predictions(events: Iterable[Event]) -> dict[str, Mapping[str, Any]]:
    """Return each question's first real guess, or that it was skipped: later ones know better."""
    found: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event.kind == PREDICTION:
            question = event.facts["question"]
            if question not in found or found[question]["met"] is None:
                found[question] = event.facts
    return found


def exercises(events: Iterable[Event]) -> dict[str, Mapping[str, Any]]:
    """Return each exercise's first passed check, else its last one; `attempts` are counted."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.kind == EXERCISE:
            name = event.facts["name"]
            before = found.get(name, {"attempts": 0, "passed": False})
            if not before["passed"]:
                found[name] = {**event.facts, "at": event.at, "attempts": before["attempts"] + 1}
    return dict(found)


def _score(
    chapter: Chapter,
    answers: Mapping[str, Mapping[str, Any]],
    verdicts: Mapping[str, Mapping[str, Any]],
) -> Score:
    outcomes = [answers[question]["met"] for question in chapter.questions if question in answers]
    tried = [verdicts[name]["passed"] for name in chapter.exercises if name in verdicts]
    return Score(
        number=chapter.number,
        title=chapter.title,
        file=chapter.file,
        questions=len(chapter.questions),
        guessed=sum(outcome is not None for outcome in outcomes),
        met=sum(outcome is True for outcome in outcomes),
        skipped=sum(outcome is None for outcome in outcomes),
        exercises=len(chapter.exercises),
        tried=len(tried),
        passed=sum(map(bool, tried)),
    )
