"""For a teacher: run handed-in answers once more, each on a fresh scene of the same variant.

The cells are a stranger's code. So each runs in a Lab VM of its own that reaches nobody's files,
unless `--here` says that this machine may be used. There it is root, as in the notebook, and could
forge its verdict: the report shows the cells, so that a reader sees what passed.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labsupport.course import course_map, progress
from labsupport.course.catalogue import NOTEBOOKS
from labsupport.course.exercises import Exercise
from labsupport.errors import LabError
from labsupport.vm.guest import LabVM

SECONDS = 120  # for one exercise
HAND_IN = Path("my_containers_course.json")
COURSE = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "labsupport.making.recheck"]
ITS_END = ["bash", "-c", 'exec "$@" > >(tail -c 65536) 2> >(tail -c 65536 >&2)', "bash"]
"""Runs a command, and passes on only the end of what it prints."""
Outcome = Mapping[str, Any]


def main(argv: Sequence[str]) -> int:
    """Run the answers in exported files once more; 1 if one that was passed does not pass."""
    parser = argparse.ArgumentParser(prog="lab recheck", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--here", action="store_true", help="on this machine, not in the Lab VM")
    options = parser.parse_args(argv)
    failures = 0
    for path in options.files:
        print(f"{path}:")
        try:
            told = False
            for exercise, outcome in recheck(path, here=options.here):
                told = True
                failures += not outcome["passed"]
                print(plain(report(exercise, outcome)))
            if not told:
                print("  no exercise in it was solved")
        except LabError as error:  # about this file; the others have their turn
            failures += 1
            print(plain(f"  not checked: {error}"))
    return int(failures > 0)


def report(exercise: Mapping[str, Any], outcome: Outcome) -> str:
    """Say how it went, and show the cells that were run."""
    word = "passes again" if outcome["passed"] else "does NOT pass again"
    helped = ", after the solution was shown" if exercise["solution_shown"] else ""
    cells = textwrap.indent("\n".join(exercise["answer"]), "    | ")
    return (
        f"  {exercise['name']} (variant {exercise['seed']}): {word}{helped}\n"
        f"    handed in: {exercise['saw']}\n    now: {outcome['why']}\n{cells}"
    )


def plain(text: str) -> str:
    """Leave out what a terminal would obey instead of showing it."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}"
                   for each in text)  # fmt: skip


def mark(name: str, path: Path = HAND_IN, *, here: bool = False) -> None:
    """Show one exercise of a file that was handed in, run once more: for an autograder's cell.

    Raises `LabError`: it is not there, or does not pass again; an autograder gives no point then.
    """
    found = list(recheck(path, here=here, only=name))
    for exercise, outcome in found:
        print(plain(report(exercise, outcome)))
    if not found or not all(outcome["passed"] for _, outcome in found):
        raise LabError(f"no point for {name}", "it does not pass again" if found else "not solved")


def recheck(
    path: Path, *, here: bool = False, only: str = ""
) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """Yield each exercise that was handed in as passed (or `only` one), and its outcome now.

    Raises `ProgressUnreadable`: the file is not an export; `LabError`: there is no Lab VM, or
    nothing to guard it with; it says what is missing.
    """
    passed = [each for each in course_map.read(path)["exercises"] if each["passed"]]
    for exercise in [each for each in passed if only in ("", each["name"])]:
        order = json.dumps({key: exercise[key] for key in ("name", "seed", "answer")})
        yield exercise, (_run_here if here else _run_in_guest)(order)


def _run_here(order: str) -> Outcome:
    try:
        done = subprocess.run([*ITS_END, *COMMAND], input=order, capture_output=True, text=True,
                              errors="replace", timeout=SECONDS, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        return _failed(f"it was not done after {SECONDS} s")
    return _outcome(done.stdout, done.stderr)


def _run_in_guest(order: str) -> Outcome:
    with LabVM.boot(jailed=True) as guest:
        try:
            done = guest.run(COMMAND, input=order, timeout=SECONDS, cwd=COURSE)
        except LabError as error:  # it took too long, or the guest died of it, or lied
            return _failed(str(error))
    return _outcome(done.stdout, done.stderr)


def _outcome(output: str, errors: str) -> Outcome:
    """Take the last line, which is an outcome: cells may print, too."""
    try:
        told = json.loads(output.strip().rpartition("\n")[2])
        return {"passed": told["passed"] is True, "why": str(told["why"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        last = errors.strip().rpartition("\n")[2]
        return _failed(last or "the program that repeats it printed no outcome")


def _failed(why: str) -> Outcome:
    return {"passed": False, "why": why}


# --- `python -m labsupport.making.recheck <ORDER` runs one answer, and prints an outcome ------


def repeat(name: str, seed: int, answer: list[str]) -> dict[str, object]:
    """Set the scene, run the cells, check; return {"passed": …, "why": …}."""
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    exercise = Exercise.of(name, seed)
    [path] = NOTEBOOKS.glob(f"{name[:2]}_*.ipynb")
    cells = json.loads(path.read_bytes())["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            shell.run_cell(first, store_history=False)
            exercise.start()
            shell.push({"exercise": exercise})
            for cell in answer:
                shell.run_cell(cell, store_history=False)
        verdict = exercise.check()
        return {"passed": verdict.passed, "why": verdict.saw}
    finally:
        exercise.stop()


if __name__ == "__main__":
    os.environ[progress.VARIABLE] = os.devnull
    order = json.load(sys.stdin)
    print("\n" + json.dumps(repeat(order["name"], order["seed"], order["answer"])))
