"""Which tests every change passes, and which are for `./lab test --all`."""

import os
import subprocess
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest

from labsupport.course.exercises import ROOMS
from tests.toys import CHECKOUT

ALL = "LAB_TEST_ALL"
SLOWEST = "12"
"""Its machine computes for eight minutes."""
LONGEST = (SLOWEST, "11", "10", "09")
IN_VM = ("00", "03", "04", "05", "06", "07", "08")
"""Mounts, networks, control groups and filters are another kernel's there."""
IN_WORDS = f"""\
without --all, where a room and its notebook have not changed since LAB_TEST_BASE (HEAD~1):
  unit       no test marked `thorough`, of each notebook's mutants but those of 12 the first, of the
             guards' six, 30 rounds of faults instead of 300
  user       the rooms that differ for an ordinary user
  notebooks  all but {SLOWEST}, whose machine computes for eight minutes
and always without --all:
  vm         {", ".join(IN_VM)}, whose kernel matters
  browser    the notebooks with a control that can be moved, and no page of the site
  podman     nothing
  page       nothing: making it takes ten minutes and more
"""


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


def has_changed(notebook: str) -> bool:
    """Whether a notebook or its room differs from that commit."""
    return bool({notebook, ROOMS.get(notebook[:2])} & changed_rooms())


def is_for_every_change(notebook: str, position: int) -> bool:
    """Whether the mutant at a position in the notebook's list runs without `--all`."""
    return has_changed(notebook) or (position == 0 and not notebook.startswith(SLOWEST))


def notebooks_at_host() -> list[str]:
    """Return the notebooks that run on this machine itself, the longest first."""
    return [
        f"notebooks/{name}"
        for name in _longest_first()
        if thorough() or not name.startswith(SLOWEST) or has_changed(name)
    ]


def notebooks_in_vm() -> list[str]:
    """Return the notebooks that run in the Lab VM, the longest first."""
    return [f"notebooks/{name}" for name in _longest_first() if thorough() or name[:2] in IN_VM]


def _longest_first() -> list[str]:
    names = sorted(path.name for path in (CHECKOUT / "notebooks").glob("*.ipynb"))
    return sorted(names, key=lambda name: (*LONGEST, name[:2]).index(name[:2]))


def for_each(notebooks: Iterable[Path], every_change: Sequence[str]) -> pytest.MarkDecorator:
    """Run a test for each notebook; those that are not for every change are `thorough`."""

    def case(path: Path) -> object:
        marks = () if path.stem[:2] in every_change else pytest.mark.thorough
        return pytest.param(path, id=path.stem, marks=marks)

    return pytest.mark.parametrize("notebook", [case(path) for path in notebooks])
