"""The Lab VM as a student meets it in JupyterLab: widgets, interrupt, restart (about 20 s)."""

import pytest

from tests.browser.page import RUN_ONE
from tests.browser.test_page import LISTEN, SHOW, SLIDER, control
from tests.toys import write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.needs("vm")]

WHO = """import os
print(os.uname().nodename, os.getuid(), open("/proc/sys/kernel/random/boot_id").read())"""
FOREVER = "print('going')\nwhile True:\n    pass"
COMMAND = "command => { window.started = window.jupyterapp.commands.execute(command); }"
IDLE = """() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status
    === 'idle'"""
HAS_OUTPUT = """number => window.jupyterapp.shell.currentWidget.context.model.toJSON()
    .cells[number].outputs.length > 0"""


def test_a_student_uses_interrupts_and_restarts_their_own_kernel(open_notebook, tmp_path):
    cells = [WHO, FOREVER, control(SLIDER + LISTEN + SHOW, "limit")]
    page = open_notebook(write_notebook(tmp_path / "guest.ipynb", *cells), "lab-vm")
    first = page.run(0)
    assert "lab 0" in first

    page.run(2)
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
    again = page.run(0)
    assert "lab 0" in again
    assert again != first
