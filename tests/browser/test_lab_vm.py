"""The Lab VM as a student meets it in JupyterLab: widgets, interrupt, restart (about 20 s)."""

import pytest

from tests.browser.lab import jupyterlab
from tests.browser.page import RUN_ONE, opened
from tests.browser.test_page import LISTEN, SHOW, SLIDER, control
from tests.notebooks import must_have
from tests.toys import write_notebook

pytestmark = pytest.mark.browser

WHO = """import os
print(os.uname().nodename, os.getuid(), open("/proc/sys/kernel/random/boot_id").read())"""
FOREVER = "print('going')\nwhile True:\n    pass"
COMMAND = "command => { window.started = window.jupyterapp.commands.execute(command); }"
IDLE = """() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status
    === 'idle'"""
HAS_OUTPUT = """number => window.jupyterapp.shell.currentWidget.context.model.toJSON()
    .cells[number].outputs.length > 0"""


@pytest.fixture
def notebook(tmp_path):
    from labsupport import probe

    if no := probe().why_not("vm"):
        (pytest.fail if "vm" in must_have() else pytest.skip)(f"needs vm: {no}")
    cells = [WHO, FOREVER, control(SLIDER + LISTEN + SHOW, "limit")]
    return write_notebook(tmp_path / "guest.ipynb", *cells)


def run_one(page, number, seconds=60):
    """Run a cell to its end and return what it printed."""
    page.page.evaluate(
        "() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"
    )
    page.page.evaluate(RUN_ONE, number)
    page.page.wait_for_function(HAS_OUTPUT, arg=number, timeout=seconds * 1000)
    page.page.wait_for_function(IDLE, timeout=seconds * 1000)
    return str(page.cells()[number]["outputs"])


def test_a_student_uses_interrupts_and_restarts_their_own_kernel(running_chromium, notebook):
    with (
        jupyterlab(notebook.parent) as lab,
        opened(running_chromium, lab, notebook, "lab-vm") as page,
    ):
        first = run_one(page, 0)
        assert "lab 0" in first

        run_one(page, 2)
        page.move(2, "limit")

        page.page.evaluate(RUN_ONE, 1)
        page.page.wait_for_function(HAS_OUTPUT, arg=1)
        page.page.evaluate(COMMAND, "notebook:interrupt-kernel")
        page.page.wait_for_function(IDLE)
        assert "KeyboardInterrupt" in str(page.cells()[1]["outputs"])

        page.page.evaluate(COMMAND, "kernelmenu:restart")
        page.page.locator(".jp-Dialog .jp-mod-accept").click()
        page.page.evaluate("() => window.started")  # until it has started again
        page.page.wait_for_function(IDLE)
        again = run_one(page, 0)
        assert "lab 0" in again
        assert again != first
