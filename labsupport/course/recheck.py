"""For a teacher: run handed-in answers once more, each on a fresh scene of the same variant.

The cells are a stranger's code. So they run in the Lab VM, a new one for each file, unless
`--here` says that this machine may be used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labsupport.course import export

SECONDS = 120  # for one exercise
WITHOUT_OUTCOME = {"passed": False, "why": "the program that repeats it ended without a word"}


def main(argv: Sequence[str]) -> int:
    """Run the answers in exported files once more; 1 if one that was passed does not pass."""
    parser = argparse.ArgumentParser(prog="lab recheck", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--here", action="store_true", help="on this machine, not in the Lab VM")
    options = parser.parse_args(argv)
    failures = 0
    for path in options.files:
        print(f"{path.name}:")
        for exercise, outcome in recheck(path, here=options.here):
            failures += not outcome["passed"]
            word = "passes again" if outcome["passed"] else "does NOT pass again"
            helped = ", after the solution was shown" if exercise["solution_shown"] else ""
            print(f"  {exercise['name']} (variant {exercise['seed']}): {word}{helped}. "
                  f"Handed in: {exercise['saw']}  Now: {outcome['why']}")  # fmt: skip
    return int(failures > 0)


def recheck(path: Path, *, here: bool = False) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield each exercise that was handed in as passed, and what came of it now.

    Raises:
        ProgressUnreadable: the file is no export.
        LabError: there is no Lab VM; it says what is missing.

    """
    passed = [each for each in export.read(path)["exercises"] if each["passed"]]
    if here:
        for exercise in passed:
            argv = _argv(exercise)
            done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS,
                                  check=False)  # fmt: skip
            yield exercise, _outcome(done.stdout, done.stderr)
        return
    from labsupport.vm.guest import LabVM

    with LabVM.boot() as guest:
        for exercise in passed:
            result = guest.run(_argv(exercise), timeout=SECONDS, cwd=Path(__file__).parents[2])
            yield exercise, _outcome(result.stdout, result.stderr)


def _argv(exercise: Mapping[str, Any]) -> list[str]:
    order = {key: exercise[key] for key in ("name", "seed", "answer")}
    return [sys.executable, "-m", "labsupport.course.repeat", json.dumps(order)]


def _outcome(output: str, errors: str) -> dict[str, Any]:
    """Take the last line that is an outcome: cells may print, too."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            outcome: dict[str, Any] = json.loads(line)
            return outcome
    last = errors.strip().splitlines()[-1:]
    return {**WITHOUT_OUTCOME, "why": last[0]} if last else WITHOUT_OUTCOME
