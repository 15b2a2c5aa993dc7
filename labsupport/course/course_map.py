"""The map of the course: a row for each notebook, with what the student has done in it.

What counts is the first real guess at each question, and the first check that each exercise passed.
"""

import argparse
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport.course import progress
from labsupport.course.catalogue import NOTEBOOKS, chapters
from labsupport.course.progress import EXERCISE, PREDICTION, Event
from labsupport.errors import LabError, ProgressUnreadable
from labsupport.figure.table import PlainTable, Tabled


@dataclass(frozen=True)
class Score:
    """One notebook's counts: how many questions and exercises there are, and how they went.

    A question is `asked` once it was run; a guess that was left out counts as skipped, not as
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
        return bool(self.guessed or self.skipped or self.tried)


def scores() -> list[Score]:
    """Count, for each notebook, what the student's own file has. Raises `ProgressUnreadable`."""
    done = progress.events()
    answers, verdicts = predictions(done), exercises(done)
    found = []
    for each in chapters():
        outcomes = [answers[asked]["met"] for asked in each.questions if asked in answers]
        tried = [verdicts[name]["passed"] for name in each.exercises if name in verdicts]
        found.append(Score(
            number=each.number, title=each.title, file=each.file,
            questions=len(each.questions), guessed=len(outcomes) - outcomes.count(None),
            met=outcomes.count(True), skipped=outcomes.count(None),
            exercises=len(each.exercises), tried=len(tried), passed=sum(map(bool, tried)),
        ))  # fmt: skip
    return found


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


KEY = "guesses: ● right, ○ not, - left out; exercises: ■ solved, □ tried; · still open"


def finding(done: Sequence[Score]) -> str:
    """Say in one line what has been done."""
    guessed, met = sum(s.guessed for s in done), sum(s.met for s in done)
    passed, there = sum(s.passed for s in done), sum(s.exercises for s in done)
    if not any(score.begun for score in done):
        return f"{len(done)} notebooks, {there} exercises: nothing done yet"
    return f"{passed} of {there} exercises solved; {met} of {guessed} guesses were right ({KEY})"


def _guesses(score: Score) -> str:
    marks = "●" * score.met + "○" * (score.guessed - score.met) + "-" * score.skipped
    return f"{marks:·<{score.questions}} {score.met} of {score.questions} right"


def _exercises(score: Score) -> str:
    marks = "■" * score.passed + "□" * (score.tried - score.passed)
    solved = f"{score.passed} of {score.exercises} solved"
    return f"{marks:·<{score.exercises}} {solved}" if score.exercises else "none"


class CourseMap(Tabled):
    """What has been done of the course: a table, whose rows lead to the notebooks.

    It is read from the student's own file (see `course.progress`). Raises `ProgressUnreadable` if
    that holds something else.
    """

    def __init__(self) -> None:
        self.scores = scores()

    @property
    def begun(self) -> list[str]:
        """The numbers of the notebooks in which something was done."""
        return [score.number for score in self.scores if score.begun]

    @property
    def table(self) -> PlainTable:
        """A row for each notebook, linked to it."""
        rows = [(f"{s.number} {s.title}", _guesses(s), _exercises(s)) for s in self.scores]
        links = tuple(score.file for score in self.scores)
        head = ("notebook", "guesses", "exercises")
        return PlainTable(finding(self.scores), head, tuple(rows), links)


# --- one file that a student hands in: what was done, with the evidence, and nobody's name --------
# An exercise has its variant (the seed), what the check saw, and the cells that led to it, so that
# a teacher can run them once more (`./lab recheck`).

FORMAT = "containers-live progress, 2"
FACTS = {"name": str, "seed": int, "passed": bool, "saw": str, "answer": list,
         "solution_shown": bool}  # fmt: skip


def collect() -> dict[str, Any]:
    """Return what will be in the file. Raises `ProgressUnreadable`."""
    events = progress.events()
    tried = exercises(events)
    asked_in = {asked: each.number for each in chapters() for asked in each.questions}
    return {
        "format": FORMAT,
        "exercises": [tried[name] for name in sorted(tried)],
        "predictions": [
            {"notebook": asked_in.get(question), **facts}
            for question, facts in predictions(events).items()
        ],
    }


def export_progress(path: str | Path = "my_containers_course.json") -> Path:
    """Write the student's progress as one file to hand in; return where it is.

    Raises `LabError` if nothing has been done or something else has that name, or
    `ProgressUnreadable`.
    """
    path = Path(path)
    if not progress.file().exists():
        raise LabError(
            "there is nothing to hand in", f"there is no {progress.file()}",
            "run this in the folder of the notebooks that you worked in",
        )  # fmt: skip
    if path.exists():
        try:
            read(path)
        except ProgressUnreadable as error:
            what = f"{path} is there already, and is not an export of this course"
            raise LabError(what, remedy="choose another name") from error
    path.write_text(json.dumps(collect(), indent=1, ensure_ascii=False) + "\n")
    return path


def read(path: Path) -> Mapping[str, Any]:
    """Read such a file. Raises `ProgressUnreadable` if it is something else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ProgressUnreadable(f"{path} cannot be read", str(error)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ProgressUnreadable(
            f"{path} is not an export of this course", f'it lacks "format": "{FORMAT}"',
            "students make one with: ./lab progress --export FILE",
        )  # fmt: skip
    handed_in = content.get("exercises")
    if not isinstance(handed_in, list) or not all(map(_is_exercise, handed_in)):
        raise ProgressUnreadable(f"{path} is damaged", f"an exercise needs {', '.join(FACTS)}")
    return content


def _is_exercise(each: Any) -> bool:
    return (
        isinstance(each, dict)
        and all(isinstance(each.get(name), kind) for name, kind in FACTS.items())
        and all(isinstance(cell, str) for cell in each["answer"])
    )


def main(argv: Sequence[str]) -> int:
    """Say what has been done, or write it to a file that can be handed in."""
    parser = argparse.ArgumentParser(prog="lab progress", description=main.__doc__)
    parser.add_argument("--export", metavar="FILE", type=Path, help="write the file to hand in")
    options = parser.parse_args(argv)
    if not progress.file().exists():  # in a terminal, the one beside the notebooks is meant
        os.environ.setdefault(progress.VARIABLE, str(NOTEBOOKS / progress.FILE))
    if options.export:
        print(f"written: {export_progress(options.export)} (no name is in it; it holds your code)")
        return 0
    print(CourseMap())
    return 0
