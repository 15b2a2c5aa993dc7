"""A student presses Stop: the build ends, and says where; the other cells' widgets live on."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from labsupport import Engine
from labsupport.build.bases import base_image
from tests.browser.lab import Lab, jupyterlab
from tests.browser.page import CELL_DONE, RUN_ONE, opened
from tests.toys import write_notebook

pytestmark = pytest.mark.browser
SECONDS = 60_000
SET_UP = """
from labsupport.build.build_progress import BuildProgress
from labsupport import Engine
engine = Engine.connect()
text = "FROM labsupport/busybox\\nRUN echo $$ is going; sleep 60"
"""
BUILD = """
from labsupport.errors import BuildFailed
try:
    await BuildProgress(engine, {"Dockerfile": text}, network="none").run()
except BuildFailed as stopped:
    print("containers left:", len(engine.client.containers.list(all=True, ignore_removed=True)))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    if os.geteuid() != 0 or not shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("needs root and dockerd (apt-get install docker.io)")
    with pytest.MonkeyPatch.context() as patch, Engine.start_private() as engine:
        base_image(engine)
        patch.setenv("DOCKER_HOST", engine.address)
        with jupyterlab(tmp_path_factory.mktemp("build")) as running:
            yield running


def test_stop_ends_the_build_by_mouse_and_by_key(lab, running_chromium):
    path = write_notebook(lab.root / "build.ipynb", SET_UP, BUILD, BUILD)
    with opened(running_chromium, lab, path, "lab-host") as page:
        page.page.set_default_timeout(SECONDS)
        page.page.evaluate(RUN_ONE, 0)
        page.page.wait_for_function(CELL_DONE, arg=0)
        for number, press in ((1, "click"), (2, "key")):
            page.page.evaluate(RUN_ONE, number)
            view = page.page.locator(".lab-build").nth(number - 1)
            bar = view.get_by_role("progressbar")
            expect(bar).to_have_attribute("aria-valuetext", "1 of 2 steps")
            expect(view.get_by_role("status")).to_contain_text("step [2/2] RUN echo")
            view.locator("summary").click()
            expect(view.locator("pre")).to_contain_text("is going")
            stop = view.get_by_role("button", name="Stop the build")
            stop.click() if press == "click" else stop.press("Enter")
            expect(view.get_by_role("status")).to_contain_text("was stopped")
            expect(stop).to_be_hidden()
            cell = page.page.locator(".jp-Notebook .jp-Cell").nth(number)
            expect(cell).to_contain_text("containers left: 0")
            page.page.wait_for_function(CELL_DONE, arg=number)  # its last word comes before its end
        assert page.problems() == []
