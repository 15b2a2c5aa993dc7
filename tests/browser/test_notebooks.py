"""What a student does with each notebook: open it, run all, move a control (10 s each)."""

import json
from collections.abc import Iterator

import pytest

from tests.browser.accessibility import require_axe, violations
from tests.browser.lab import Lab, jupyterlab
from tests.browser.page import opened
from tests.toys import CHECKOUT

FOLDER = CHECKOUT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OUTPUTS = ".jp-OutputArea-output, .jp-RenderedMarkdown"  # JupyterLab's own parts are not ours
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with jupyterlab(FOLDER) as running:
        yield running


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_student_runs_every_cell_and_uses_its_controls(notebook, lab, running_chromium):
    with opened(running_chromium, lab, notebook) as page:
        page.walk()
        assert page.problems() == []
        require_axe()
        assert violations(page.page, OUTPUTS) == []


def test_some_notebook_names_a_control():
    """Otherwise the test above has moved nothing."""
    cells = [cell for path in NOTEBOOKS for cell in json.loads(path.read_text())["cells"]]
    assert any("control" in cell["metadata"].get("lab", {}) for cell in cells)
