"""The harness itself, on a toy notebook: it sees what is wrong (about 10 s)."""

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


def control(source, label):
    cell = code(source)
    cell.metadata["lab"] = {"control": label}
    return cell


def test_errors_unnamed_pictures_and_deaf_controls_are_seen(tmp_path, running_chromium):
    unnamed = f"from IPython.display import HTML\nHTML('<img src=\"{PIXEL}\">')"
    cells = [control(SLIDER + SHOW, "limit"), unnamed, "1 / 0", "1 + 1"]
    bad = write_notebook(tmp_path / "bad.ipynb", *cells)
    with jupyterlab(tmp_path, dark=True) as lab, opened(running_chromium, lab, bad) as page:
        page.walk(use_controls=False)
        found = "\n".join(page.problems())
        with pytest.raises(PlaywrightTimeout):
            page.move(0, "limit", seconds=2)
        page.screenshot(tmp_path / "shot.png")

    assert "cell 2: ZeroDivisionError" in found
    assert "cell 3 was not run" in found
    assert "no text alternative: <img" in found
    assert (tmp_path / "shot.png").read_bytes().startswith(b"\x89PNG")


def test_chromium_hears_of_no_new_interface():
    code = "import socket; socket.socket(); print('one'); socket.socket(socket.AF_NETLINK)"
    environment = {**os.environ, "CHROMIUM": sys.executable}
    argv = [STEADY, "-c", code]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "one\n"
    assert "PermissionError" in done.stderr
