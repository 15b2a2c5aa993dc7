"""One file that a student hands in: what was done, with the evidence, and nobody's name.

For each exercise it holds the variant (its seed), what the check saw, and the cells that led to it,
so that a teacher can run them once more (`labsupport.making.recheck`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labsupport.course import course_map, progress
from labsupport.course.catalogue import chapter_of_question
from labsupport.errors import LabError, ProgressUnreadable

FORMAT = "containers-live progress, 2"
FACTS = {"name": str, "seed": int, "passed": bool, "saw": str, "answer": list,
         "solution_shown": bool}  # fmt: skip


def collect() -> dict[str, Any]:
    """Return what will be in the file. Raises `ProgressUnreadable`."""
    events = progress.events()
    exercises = course_map.exercises(events)
    predictions = course_map.predictions(events)
    return {
        "format": FORMAT,
        "exercises": [exercises[name] for name in sorted(exercises)],
        "predictions": [
            {"notebook": chapter_of_question(question), **facts}
            for question, facts in predictions.items()
        ],
    }


def export_progress(path: str | Path = "my_containers_course.json") -> Path:
    """Write the student's progress as one file to hand in; return where it is.

    Raises `LabError` if something else has that name, or `ProgressUnreadable`.
    """
    path = Path(path)
    if path.exists() and not _is_export(path):
        what = f"{path} is there already, and is not an export of this course"
        raise LabError(what, remedy="choose another name")
    path.write_text(json.dumps(collect(), indent=1, ensure_ascii=False) + "\n")
    return path


def read(path: Path) -> Mapping[str, Any]:
    """Read such a file. Raises `ProgressUnreadable` if it is something else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ProgressUnreadable(f"{path} cannot be read", str(error)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ProgressUnreadable(
            f"{path} is not an export of this course", f'it lacks "format": "{FORMAT}"',
            "students make one with: ./lab progress --export FILE",
        )  # fmt: skip
    exercises = content.get("exercises")
    if not isinstance(exercises, list) or not all(map(_is_exercise, exercises)):
        raise ProgressUnreadable(f"{path} is damaged", f"an exercise needs {', '.join(FACTS)}")
    return content


def _is_exercise(each: Any) -> bool:
    return (
        isinstance(each, dict)
        and all(isinstance(each.get(name), kind) for name, kind in FACTS.items())
        and all(isinstance(cell, str) for cell in each["answer"])
    )


def _is_export(path: Path) -> bool:
    try:
        read(path)
    except ProgressUnreadable:
        return False
    return True


def main(argv: Sequence[str]) -> int:
    """Say what has been done, or write it to a file that can be handed in."""
    parser = argparse.ArgumentParser(prog="lab progress", description=main.__doc__)
    parser.add_argument("--export", metavar="FILE", type=Path, help="write the file to hand in")
    options = parser.parse_args(argv)
    if options.export:
        print(f"written: {export_progress(options.export)} (no name is in it; it holds your code)")
        return 0
    for score in course_map.scores():
        print(f"{score.number} {score.title:26} guesses right {score.met}/{score.questions}   "
              f"exercises solved {score.passed}/{score.exercises}")  # fmt: skip
    return 0
