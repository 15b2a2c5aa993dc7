"""An exercise of notebook 02 in JupyterLab by keyboard alone: wrong, right (20 s)."""

import re

import nbformat
import pytest

from tests.toys import CHECKOUT

pytestmark = [pytest.mark.browser, pytest.mark.needs("ns.pid")]

NOTEBOOK = CHECKOUT / "notebooks" / "02_pid_namespaces.ipynb"
WANTED = "[it] = [p for p in processes(of=exercise.box) if p.pids[-1] == {}]; "
STOP, END = ("import signal; " + WANTED + f"os.kill(it.pids[0], signal.{name}); 'sent {name}'"
             for name in ("SIGSTOP", "SIGTERM"))  # fmt: skip
GO_ON = "os.kill(it.pids[0], signal.SIGCONT); "

IS_IN_NOTEBOOK = "() => !!document.activeElement.closest('.jp-Notebook')"
ACTIVE = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
ACTIVE_IS = f"number => ({ACTIVE})() === number"
COUNT = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
EDITS = "() => !!document.activeElement.closest('.jp-mod-active .cm-content')"
SOURCE_IS = """text => window.jupyterapp.shell.currentWidget.content.activeCell.model
    .sharedModel.getSource() === text"""


class Keys:
    """A student at the keyboard: presses keys, and reads what the page shows."""

    def __init__(self, page):
        self.page, self.press = page, page.keyboard.press

    def enter_the_notebook(self):
        """Press the tabulator key until the notebook has the focus; it may have it at once."""
        for _ in range(60):
            if self.page.evaluate(IS_IN_NOTEBOOK):
                return self.press("Escape")  # command mode
            self.press("Tab")
        raise AssertionError("the tabulator key does not lead into the notebook")

    def go_to(self, number):
        """Press an arrow key until that cell is the active one, from the end if that is nearer."""
        last = self.page.evaluate(COUNT) - 1
        if last - number < number - self.page.evaluate(ACTIVE):
            self.press("Shift+End")
            self.page.wait_for_function(ACTIVE_IS, arg=last)
        while (active := self.page.evaluate(ACTIVE)) != number:
            step = 1 if number > active else -1
            self.press("ArrowDown" if step > 0 else "ArrowUp")
            self.page.wait_for_function(ACTIVE_IS, arg=active + step)

    def write(self, text):
        """Write into the active cell, in place of what is there."""
        self.press("Enter")
        self.page.wait_for_function(EDITS)
        self.press("Control+A")
        self.page.keyboard.type(text)
        self.page.wait_for_function(SOURCE_IS, arg=text)

    def run(self, number, words=""):
        """Run the active cell, which is `number`; return what it shows once it says `words`."""
        self.press("Shift+Enter")
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(number)
        cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for(state="attached")
        if not words:
            return ""
        output = cell.locator(".jp-OutputArea-output", has_text=words)
        output.wait_for()
        return output.inner_text()


def where(text):
    """Return the number of the first cell that holds a text."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return next(number for number, cell in enumerate(cells) if text in cell.source)


def test_an_exercise_is_done_by_keyboard_alone(open_notebook):
    notebook = open_notebook(NOTEBOOK)
    keys = Keys(notebook.page)
    keys.enter_the_notebook()
    keys.go_to(imports := where("%load_ext labsupport"))
    keys.run(imports)
    keys.go_to(start := where('Exercise.of("02.1")'))
    task = keys.run(start, "Exercise 02.1")
    number = re.search(r"the one that is PID (\d+) in there", task)[1]
    here, check = where("# your turn, here or in a terminal"), where("exercise.check()")

    keys.go_to(here)
    keys.write(STOP.format(number))
    keys.run(here, "sent SIGSTOP")
    keys.go_to(check)
    refused = keys.run(check, "Not yet")
    assert f"PID {number} is stopped, and could go on at any moment" in refused

    keys.go_to(here)
    keys.write(GO_ON + END.format(number))
    keys.run(here, "sent SIGTERM")
    keys.go_to(check)
    assert f"PID {number} got SIGTERM" in keys.run(check, "Done ✓")
