"""Cells that are run twice, or in any order: each ends well or in words, and nothing is left.

A student runs a cell again, skips some, and goes back. What may come of it: the cell's own result,
a `LabError`, an assert with its message, or a name that another cell makes.
"""

import random
import time
from pathlib import Path

import nbformat
import pytest

from labsupport import errors
from labsupport.doctor.needs import uses
from labsupport.kernel.procfs import all_pids
from labsupport.ownership import marks
from tests import census
from tests.selection import for_each
from tests.test_kill_9 import engine, start_kernel  # noqa: F401
from tests.toys import CHECKOUT

NOTEBOOKS = [
    path
    for path in sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
    if path.stem[:2] not in ("12",)  # a machine boots for a minute, and its own tests do this
]
EVERY_CHANGE = ("02", "03")
TWICE = ("03",)  # the view in 02 lives for 8 s
CLEANS = ("01", "02", "03", "04", "05", "06", "07", "08", "13", "14")
OWN_WORDS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
CELL_SECONDS = 120
PATIENCE_SECONDS = 5


@for_each(NOTEBOOKS, TWICE)
@pytest.mark.usefixtures("engine")
def test_each_cell_may_be_run_twice(notebook):
    first, *cells = code_cells(notebook)
    twice = [first, *(cell for each in cells for cell in (each, each))]
    assert outcomes(notebook, twice) == []


@for_each(NOTEBOOKS, EVERY_CHANGE)
@pytest.mark.usefixtures("engine")
def test_the_cells_may_be_run_in_any_order(notebook):
    first, *cells = code_cells(notebook)
    random.Random(notebook.stem).shuffle(cells)
    assert outcomes(notebook, [first, *cells]) == []


@for_each((path for path in NOTEBOOKS if path.stem[:2] in CLEANS), EVERY_CHANGE)
def test_a_clean_up_alone_finds_nothing_to_clean(notebook):
    cells = code_cells(notebook)
    cleaning = cleaning_up(notebook)
    assert cleaning
    assert outcomes(notebook, [cells[0], *cleaning], may_be_missing=set()) == []


def code_cells(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]


def cleaning_up(notebook):
    """The code cells below the heading "Clean up", and those that say so in a comment."""
    found, below = [], False
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown":
            below = "## Clean up" in cell.source
        elif below or "# Clean up" in cell.source:
            found.append(cell)
    return found


def outcomes(notebook, cells, may_be_missing=None):
    """Run the cells; return what was not said in words, and what is left when the kernel ends.

    Only names of `may_be_missing` may be missing, by default those that the notebook's cells make.
    """
    manager, client = start_kernel(notebook)
    mark = marks.mark(manager.provisioner.pid)
    try:
        said = [(cell, run(client, cell.source)) for cell in cells]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
    made = may_be_missing
    if made is None:
        made = {name for cell in code_cells(notebook) for name in uses(cell.source)[1]}
    wrong = [wording(cell, reply) for cell, reply in said if not is_in_words(cell, reply, made)]
    return wrong + left(mark)


def run(client, source):
    reply = client.execute_interactive(
        source, timeout=CELL_SECONDS, stop_on_error=False, output_hook=lambda _message: None
    )
    return reply["content"]


def is_in_words(cell, reply, made):
    kind, value = reply.get("ename"), reply.get("evalue", "")
    if reply["status"] == "ok" or "raises-exception" in cell.metadata.get("tags", []):
        return True
    if kind == "NameError":
        return any(f"'{name}'" in value for name in made)
    return kind in OWN_WORDS or (kind == "AssertionError" and value.strip() != "")


def wording(cell, reply):
    return f"{cell.id}: {reply.get('ename')}: {reply.get('evalue', '')[:200]}"


def left(mark):
    """Processes that the ended kernel left, after a moment; pytest shows them."""
    until = time.monotonic() + PATIENCE_SECONDS
    while left := census.owned_by(mark) & set(all_pids()):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    words = [f"left: {Path(f'/proc/{pid}/cmdline').read_bytes()!r}" for pid in left]
    return words + [f"left: cgroup {name}" for name in census.cgroups(mark.replace(":", "-"))]
