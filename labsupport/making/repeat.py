"""Run one answer once more: `python -m labsupport.making.repeat <ORDER`, which prints an outcome.

ORDER is JSON: an exercise's name, its seed, and the student's cells. The notebook's own first cell
runs before them, since answers use what it imports. A cell that fails is passed over, as a student
would: what counts is the state that all of them lead to.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

from labsupport.course import progress
from labsupport.course.catalogue import NOTEBOOKS
from labsupport.course.exercises import Exercise


def repeat(name: str, seed: int, answer: list[str]) -> dict[str, object]:
    """Set the scene, run the cells, check; return {"passed": …, "why": …}."""
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    exercise = Exercise.of(name, seed)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            shell.run_cell(_first_cell(name), store_history=False)
            exercise.start()
            shell.push({"exercise": exercise})
            for cell in answer:
                shell.run_cell(cell, store_history=False)
        verdict = exercise.check()
        return {"passed": verdict.passed, "why": verdict.saw}
    finally:
        exercise.stop()


def _first_cell(name: str) -> str:
    [path] = NOTEBOOKS.glob(f"{name[:2]}_*.ipynb")
    cells = json.loads(path.read_bytes())["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


if __name__ == "__main__":
    os.environ[progress.VARIABLE] = os.devnull
    order = json.load(sys.stdin)
    print("\n" + json.dumps(repeat(order["name"], order["seed"], order["answer"])))
