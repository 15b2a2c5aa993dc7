"""The syscall grid of notebook 07 in JupyterLab itself, by pointer and by keys (about 15 s)."""

from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Locator

from tests.browser.lab import jupyterlab
from tests.browser.page import CELL_DONE, CLEAR, RUN_ONE, NotebookPage, opened
from tests.toys import CHECKOUT

pytestmark = pytest.mark.browser

NOTEBOOK = CHECKOUT / "notebooks" / "07_seccomp_and_capabilities.ipynb"
ACTIVE = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
FOCUSED = "() => document.activeElement.dataset.name"


def first_grid() -> int:
    """The number of the cell that shows the grid of the student's first filter."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return next(n for n, cell in enumerate(cells) if "SyscallGrid({" in cell.source)


@pytest.fixture
def page(running_chromium) -> Iterator[NotebookPage]:
    with jupyterlab(NOTEBOOK.parent) as lab, opened(running_chromium, lab, NOTEBOOK) as page:
        page.page.evaluate(CLEAR)
        cells = page.cells()
        for number in range(first_grid() + 1):
            if cells[number]["cell_type"] == "code":
                page.page.evaluate(RUN_ONE, number)
                page.page.wait_for_function(CELL_DONE, arg=number, timeout=60_000)
        yield page


def grid_of(page: NotebookPage) -> Locator:
    return page.page.locator(".jp-Notebook .jp-Cell").nth(first_grid()).locator(".lab-syscalls")


def test_a_student_walks_through_the_grid_and_the_notebook_stays(page):
    grid = grid_of(page)
    grid.locator("[data-name=mkdir]").hover()
    assert "mkdir (number" in grid.locator("[role=status]").inner_text()
    assert "refused with EPERM" in grid.locator("[role=status]").inner_text()

    grid.locator("[data-name=mkdir]").click()
    before = page.page.evaluate(ACTIVE)
    page.page.keyboard.press("ArrowRight")
    assert page.page.evaluate(FOCUSED) == "rmdir"
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):  # in command mode these change the cell
        page.page.keyboard.press(key)
    assert page.page.evaluate(FOCUSED) is not None
    assert page.page.evaluate(ACTIVE) == before


def test_letters_in_the_search_field_are_no_commands_of_the_notebook(page):
    grid = grid_of(page)
    count = len(page.cells())
    grid.locator("input[type=search]").click()
    page.page.keyboard.type("mkdir")  # b and d would add and delete cells

    rows = grid.locator("details tbody tr")
    assert rows.count() == 2
    assert len(page.cells()) == count
