"""A terminal in a cell, by keyboard alone: typed into, read, left, closed."""

import pytest
from playwright.sync_api import expect

from tests.browser.page import CELLS
from tests.toys import write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.needs("ns.pid")]
SOURCES = (
    "%load_ext labsupport\nfrom labsupport import Sandbox, Terminal\n"
    "box = Sandbox(new={'pid', 'mount'}).open()",
    "terminal = Terminal(box)\nterminal",
    "terminal.type('echo first $((6*7))\\n')\nprint(await terminal.expect('first 42'))",
)


def test_a_terminal_is_used_and_left_by_keyboard(tmp_path, open_notebook):
    notebook = open_notebook(write_notebook(tmp_path / "terminal.ipynb", *SOURCES))
    notebook.walk()
    assert notebook.problems() == []
    page = notebook.page
    page.get_by_role("textbox", name="terminal: nsenter").focus()
    page.keyboard.type("echo second $((6*8))\n")
    page.get_by_role("listitem").get_by_text("second 48").wait_for(state="attached")
    page.keyboard.press("Shift+Escape")
    expect(page.get_by_role("button", name="■ Close")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator(".labsupport-terminal [role=status]", has_text="closed").wait_for()
    page.wait_for_function(f"({CELLS})()[1].outputs[0].data['text/plain'].includes('second 48')")
