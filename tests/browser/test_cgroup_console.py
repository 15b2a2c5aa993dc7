"""A student uses the console of 06 by keyboard alone, and its log reads out what happens."""

import pytest
from playwright.sync_api import expect

from tests.toys import write_notebook

pytestmark = [
    pytest.mark.browser,
    pytest.mark.needs("cgroup.memory", "cgroup.pids", "cgroup.cpu"),
]
CELLS = (
    "from labsupport import Cgroup, CgroupConsole\n"
    "group = Cgroup(memory='24M', pids=20, cpu=0.5).open()\n"
    "console = CgroupConsole(group)",
    "await console.run(seconds=1)",
    "print(len(group.processes()))",
    "group.close()",
)


def test_sliders_and_buttons_are_obeyed_and_the_log_reads_it_out(tmp_path, open_notebook):
    page = open_notebook(write_notebook(tmp_path / "console.ipynb", *CELLS), "lab-host")
    page.run(0)
    page.run(1)
    log, limit = page.page.get_by_role("log"), page.page.get_by_label("CPU limit")
    limit.press("Home")  # on a busy machine it would not get the half of a CPU that it may have
    expect(log).to_contain_text("now says 10000")
    page.page.get_by_role("button", name="CPU burner").press("Enter")
    expect(log).to_contain_text("CPU burner started")
    expect(log).to_contain_text("the kernel struck: throttled")
    assert int(page.run(2)) >= 1
    page.page.get_by_role("button", name="stop all programs").press("Enter")
    expect(log).to_contain_text("all programs in the group were ended")
    assert int(page.run(2)) == 0
    page.run(3)
