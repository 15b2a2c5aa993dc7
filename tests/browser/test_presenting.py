"""Sizes for a projector in JupyterLab: words, a live widget and pictures (15 s)."""

import pytest

from tests.browser.lab import jupyterlab
from tests.browser.page import CELL_DONE, RUN_ONE, opened
from tests.toys import write_notebook

pytestmark = pytest.mark.browser
PICTURE = "style.show(style.new_figure(4, 1), 'a white field')"
SOURCES = (
    "from labsupport.figure import style\nfrom labsupport.figure.style import present\n"
    "from ipywidgets import Button\nButton(description='live')",
    "from labsupport.figure.table import PlainTable\n"
    "PlainTable('a table', ('a', 'b'), (('1', '2'),))",
    PICTURE,
    "present(1.5)",
    PICTURE,
    "present(False)",
    PICTURE,
)


def heights(page):
    """Return how high the button, the table and each picture are, in pixels."""
    found = [page.locator(".jp-OutputArea button", has_text="live"), page.locator("table").first]
    found += page.locator(".jp-OutputArea img").all()
    return [each.bounding_box()["height"] for each in found]


def test_what_is_there_grows_at_once_and_pictures_when_they_are_drawn(tmp_path, running_chromium):
    notebook = write_notebook(tmp_path / "large.ipynb", *SOURCES)
    with jupyterlab(tmp_path) as lab, opened(running_chromium, lab, notebook) as opened_page:
        page = opened_page.page

        def after(number):
            page.evaluate(RUN_ONE, number)
            page.wait_for_function(CELL_DONE, arg=number)
            page.locator(".jp-Cell").nth(number).locator(".jp-OutputArea-output").wait_for()
            return heights(page) if number > 1 else None

        after(0), after(1)
        button, table, picture = after(2)
        assert after(3) == pytest.approx([1.5 * button, 1.5 * table, picture], rel=0.05)
        assert after(4)[2:] == pytest.approx([picture, 1.5 * picture], rel=0.05)
        assert after(5)[:3] == pytest.approx([button, table, picture], rel=0.05)
        assert after(6)[2:] == pytest.approx([picture, 1.5 * picture, picture], rel=0.05)
