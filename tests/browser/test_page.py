"""The harness itself, on toy notebooks: it sees what is wrong (about 15 s)."""

import os
import subprocess
import sys

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.lab import jupyterlab
from tests.browser.page import STEADY, opened
from tests.toys import code, write_notebook

pytestmark = pytest.mark.browser

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
SLIDER = f"""
import ipywidgets
picture = ipywidgets.HTML('<img alt="0" src="{PIXEL}">')
slider = ipywidgets.IntSlider(description="limit", max=10)
def draw(change):
    picture.value = f'<img alt="{{change.new}}" src="{PIXEL}">'
"""
SHOW = "ipywidgets.VBox([slider, picture])"
LISTEN = "slider.observe(draw, 'value')\n"
BUTTON = f"""
import ipywidgets
count = ipywidgets.HTML('<img alt="no process" src="{PIXEL}">')
button = ipywidgets.Button(description="Start one")
button.on_click(lambda _: setattr(count, "value", '<img alt="one process" src="{PIXEL}">'))
ipywidgets.VBox([button, count])
"""
LIVE = f"""
import asyncio, ipywidgets
stop = ipywidgets.Button(description="Stop")
live = ipywidgets.HTML()
stop.on_click(lambda _: setattr(stop, "disabled", True))
display(ipywidgets.VBox([stop, live]))
for frame in range(40):
    if stop.disabled:
        break
    live.value = f'<img alt="{{frame}}" src="{PIXEL}">'
    await asyncio.sleep(0.1)
stop.disabled = True
"""


def control(source, label):
    cell = code(source)
    cell.metadata["lab"] = {"control": label}
    return cell


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the toy notebooks of this module."""
    folder = tmp_path_factory.mktemp("toys")
    write_notebook(
        folder / "good.ipynb",
        code("1 / 0", tags=["raises-exception"]),
        control(SLIDER + LISTEN + SHOW, "limit"),
        control(BUTTON, "Start one"),
        control(LIVE, "Stop"),
    )
    write_notebook(
        folder / "bad.ipynb", control(SLIDER + SHOW, "limit"),
        f"from IPython.display import HTML\nHTML('<img src=\"{PIXEL}\">')", "1 / 0", "1 + 1",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def lab(folder):
    with jupyterlab(folder, dark=True) as running:
        yield running


@pytest.fixture
def page(request, folder, lab, running_chromium):
    with opened(running_chromium, lab, folder / request.param) as page:
        yield page


@pytest.mark.parametrize("page", ["good.ipynb"], indirect=True)
def test_a_good_notebook_has_no_problems_and_its_controls_move(page):
    page.walk()
    assert page.problems() == []
    assert page.named_controls() == [(1, "limit"), (2, "Start one"), (3, "Stop")]


@pytest.mark.parametrize("page", ["bad.ipynb"], indirect=True)
def test_errors_unnamed_pictures_and_deaf_controls_are_seen(page, tmp_path):
    page.walk(use_controls=False)
    found = "\n".join(page.problems())

    assert "cell 2: ZeroDivisionError" in found
    assert "cell 3 was not run" in found
    assert "no text alternative: <img" in found
    with pytest.raises(PlaywrightTimeout):
        page.move(0, "limit", seconds=2)
    page.screenshot(tmp_path / "shot.png")
    assert (tmp_path / "shot.png").read_bytes().startswith(b"\x89PNG")


def test_chromium_hears_of_no_new_interface():
    code = "import socket; socket.socket(); print('one'); socket.socket(socket.AF_NETLINK)"
    environment = {**os.environ, "CHROMIUM": sys.executable}
    argv = [STEADY, "-c", code]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "one\n"
    assert "PermissionError" in done.stderr
