"""What a student does with each notebook: open it, run all, move a control (10 s each)."""

import json

import pytest

from tests.browser.accessibility import require_axe, violations
from tests.browser.lab import jupyterlab
from tests.browser.page import opened
from tests.selection import for_each
from tests.toys import CHECKOUT

FOLDER = CHECKOUT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OUTPUTS = ".jp-OutputArea-output, .jp-RenderedMarkdown"  # JupyterLab's own parts are not ours
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab():
    with jupyterlab(FOLDER) as running:
        yield running


def has_control(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    return any("control" in cell["metadata"].get("lab", {}) for cell in cells)


@for_each(NOTEBOOKS, [path.stem[:2] for path in NOTEBOOKS if has_control(path)])
def test_a_student_runs_every_cell_and_uses_its_controls(notebook, lab, running_chromium):
    with opened(running_chromium, lab, notebook) as page:
        page.walk()
        assert page.problems() == []
        require_axe()
        assert violations(page.page, OUTPUTS) == []


def test_some_notebook_names_a_control():
    """Otherwise the test above has moved nothing."""
    assert any(map(has_control, NOTEBOOKS))
