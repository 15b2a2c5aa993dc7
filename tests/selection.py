"""Which tests every change passes, and which are for `./lab test --all`.

A test marked `thorough` runs with `--all`, and where its room has changed. Of the mutants, the
first of each notebook stands for its topic; all of them run where that notebook or its room has
changed.
"""

import os
import subprocess
import warnings
from functools import cache

from labsupport.course.exercises import ROOMS
from tests.toys import CHECKOUT

ALL = "LAB_TEST_ALL"


def thorough() -> bool:
    """Whether everything is to be tested."""
    return os.environ.get(ALL) == "1"


@cache
def changed_rooms() -> frozenset[str]:
    """Return the rooms that differ from the commit `LAB_TEST_BASE`, by default the last but one."""
    base = os.environ.get("LAB_TEST_BASE", "HEAD~1")
    command = ["git", "diff", "--name-only", base, "--", "labsupport", "notebooks"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:  # a clone without history
        warnings.warn(f"nobody knows which rooms have changed: {done.stderr.strip()}", stacklevel=2)
    parts = [line.split("/") for line in done.stdout.splitlines()]
    return frozenset(part[1] for part in parts if len(part) > 1)


def is_for_every_change(notebook: str, position: int) -> bool:
    """Whether the mutant at a position in the notebook's list runs without `--all`."""
    has_changed = {notebook, ROOMS.get(notebook[:2])} & changed_rooms()
    return position == 0 or bool(has_changed)
