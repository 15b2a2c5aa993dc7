"""A student moves a slider of the console: the kernel's file changes. And the keys suffice."""

import pytest
from playwright.sync_api import expect

from tests.browser.lab import jupyterlab
from tests.browser.page import opened
from tests.toys import write_notebook

pytestmark = [
    pytest.mark.browser,
    pytest.mark.needs("cgroup.memory", "cgroup.pids", "cgroup.cpu"),
]
SECONDS = 60_000
SET_UP = """
from labsupport import Cgroup, CgroupConsole
group = Cgroup(memory="24M", pids=20, cpu=0.5).open()
console = CgroupConsole(group)
"""
RUN = "await console.run(seconds=1)"
READ = "print(group.files()['memory'][1], group.files()['pids'][1], len(group.processes()))"


@pytest.fixture(scope="module")
def page(tmp_path_factory, running_chromium):
    path = tmp_path_factory.mktemp("console") / "console.ipynb"
    write_notebook(path, SET_UP, RUN, READ, "group.close()")
    with jupyterlab(path.parent) as lab, opened(running_chromium, lab, path, "lab-host") as page:
        page.page.set_default_timeout(SECONDS)
        page.run(0)
        page.run(1)
        yield page
        page.run(3)


def says(page):
    """What the kernel's files say: memory limit, limit of tasks, processes inside."""
    return [int(word) for word in page.run(2).split()]


def test_nothing_is_watched_until_it_is_started(page):
    stop = page.page.get_by_role("button", name="stop watching")
    expect(stop).to_be_hidden()  # the cell has ended
    page.page.get_by_role("button", name="start watching").press("Enter")
    expect(stop).to_be_visible()
    stop.click()
    expect(stop).to_be_hidden()


def test_a_moved_slider_changes_the_kernels_file(page):
    slider, log = page.page.get_by_label("memory limit"), page.page.get_by_role("log")
    expect(slider).to_have_attribute("aria-valuenow", "24.0")
    slider.press("ArrowRight")
    expect(log).to_contain_text(str(32 << 20))
    assert says(page)[0] == 32 << 20
    page.page.get_by_label("task limit").press("ArrowLeft")
    expect(log).to_contain_text("pids.max now says 18")
    assert says(page)[1] == 18


def test_buttons_start_a_program_and_the_log_reads_it_out(page):
    log, limit = page.page.get_by_role("log"), page.page.get_by_label("CPU limit")
    limit.press("Home")  # on a busy machine it would not get the half of a CPU that it may have
    expect(log).to_contain_text("now says 10000")
    page.page.get_by_role("button", name="CPU burner").press("Enter")
    expect(log).to_contain_text("CPU burner started")
    expect(log).to_contain_text("the kernel struck: throttled")
    assert says(page)[2] >= 1
    page.page.get_by_role("button", name="stop all programs").press("Enter")
    expect(log).to_contain_text("all programs in the group were ended")
    assert says(page)[2] == 0
