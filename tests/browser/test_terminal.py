"""A terminal in a cell, by keyboard alone: typed into, read, left, closed."""

import pytest
from playwright.sync_api import expect

from labsupport import probe
from tests.browser.lab import jupyterlab
from tests.browser.page import CELLS, opened
from tests.toys import write_notebook

pytestmark = pytest.mark.browser
SOURCES = (
    "%load_ext labsupport\nfrom labsupport import Sandbox, Terminal\n"
    "box = Sandbox(new={'pid', 'mount'}).open()",
    "terminal = Terminal(box)\nterminal",
    "terminal.type('echo first $((6*7))\\n')\nprint(await terminal.expect('first 42'))",
)


def test_a_terminal_is_used_and_left_by_keyboard(tmp_path, running_chromium):
    if refusal := probe().why_not("ns.pid"):
        pytest.skip(f"needs ns.pid: {refusal.reason}")
    notebook = write_notebook(tmp_path / "terminal.ipynb", *SOURCES)
    with jupyterlab(tmp_path) as lab, opened(running_chromium, lab, notebook) as opened_page:
        opened_page.walk()
        assert opened_page.problems() == []
        page = opened_page.page
        screen = page.get_by_role("textbox", name="terminal: nsenter")
        screen.focus()
        page.keyboard.type("echo second $((6*8))\n")
        page.get_by_role("listitem").get_by_text("second 48").wait_for(state="attached")
        page.keyboard.press("Shift+Escape")
        expect(page.get_by_role("button", name="■ Close")).to_be_focused()
        page.keyboard.press("Enter")
        page.locator(".labsupport-terminal [role=status]", has_text="closed").wait_for()
        page.wait_for_function(
            f"({CELLS})()[1].outputs[0].data['text/plain'].includes('second 48')"
        )
