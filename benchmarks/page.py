"""The page: the size of its state, and the seconds of what a student does first.

    python benchmarks/page.py [FOLDER]          (after ./lab page, from the checkout's folder)

First its machine alone, in Node; then the whole page in Chromium, from a server on loopback.

The machine computes about twenty times as slowly as the one that it runs on.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import psutil
from playwright.sync_api import Browser, Page

from labsupport.page import build
from tests.browser.page import browser
from tests.page.test_browser import EXECUTE, SHOW, opened, served

CELLS = {
    "the first cell": "%load_ext labsupport\nfrom labsupport import Cgroup, PidMap, Sandbox",
    "print(1)": "print(1)",
    "a first completion": "get_ipython().kernel.do_complete('pri', 3)",
    "a first error": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
        "    get_ipython().InteractiveTB.text(type(error), error, error.__traceback__, 0)"
    ),
    "a sandbox with ps": "with Sandbox(new={'pid', 'mount'}) as box:\n    box.run(['ps', '-e'])",
    "the first map": "with Sandbox(new={'pid', 'mount'}) as box:\n    PidMap({'box': box}).draw()",
    "a plot": "from matplotlib import pyplot\npyplot.plot([1, 2]);",
    "an OOM kill": (
        "with Cgroup(memory='16M') as group, Sandbox(cgroup=group) as box:\n"
        "    done = box.run(['python3', '-S', '-c', 'bytearray(1 << 25)'])\n"
        "assert done.returncode == -9"
    ),
}

ON_DOCKER = {  # the mark has the page take the machine in which it runs already
    "Docker ready": "# needs: engine\nimport labsupport\nengine = labsupport.Engine.connect()",
    "docker run": "import os\nassert not os.system('docker run --rm labsupport/busybox true')",
    "docker run, again": "assert not os.system('docker run --rm labsupport/busybox true')",
}
SLIDER = """
import ipywidgets
slider, words = ipywidgets.IntSlider(), ipywidgets.HTML()
slider.observe(lambda change: setattr(words, "value", f"<b id=at>{change.new}</b>"), "value")
display(slider, words)
"""
TURNS = 5


def in_node(folder: Path) -> None:
    """Measure the machine alone."""
    machine = build.build(folder)
    for what, name in (("state", build.STATE), ("and with Docker", build.ENGINE)):
        print(f"{what:20} {(machine / name).stat().st_size / 1e6:6.1f} MB")
    for sources in (CELLS, ON_DOCKER):
        cells = [
            {"cell_type": "code", "id": name, "metadata": {}, "source": [source]}
            for name, source in sources.items()
        ]
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "bench.ipynb"
            path.write_text(json.dumps({"cells": cells}, indent=1))
            for cell in build.cells_of(machine, path):
                failed = "" if cell["is"] == "passed" else f"   {cell['is']}: {cell.get('error')}"
                print(f"{cell['id']:20} {cell['seconds']:6.2f} s{failed}")


def in_chromium(folder: Path) -> None:
    """Measure the page as a student has it."""
    print("in Chromium:")
    with browser() as running, served(folder) as address:
        began = time.perf_counter()
        with opened(running, address, "00_start_here.ipynb") as page:
            run = partial(page.page.evaluate, EXECUTE)
            run("print(1)")
            told("opened, first output", time.perf_counter() - began)
            told("print(1)", median(seconds(partial(run, "print(1)")) for _ in range(TURNS)))
            told("slider, round trip", median(moves(page.page)))
            page.page.wait_for_function("() => window.labMachine.now")
            run("x = 1")
            told("undo", seconds(partial(page.page.evaluate, "() => window.labMachine.back()")))
            print(f"{'the tab':20} {tab_bytes(running) / 1e6:6.0f} MB")


def told(what: str, seconds: float) -> None:
    """Print a row."""
    print(f"{what:20} {seconds:6.2f} s", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def moves(page: Page) -> Iterator[float]:
    """Show a slider in a cell, move it by its key, and wait for what Python answers."""
    page.evaluate(SHOW, SLIDER)
    for at in range(1, TURNS + 1):
        page.get_by_role("slider").last.press("ArrowRight", no_wait_after=True)
        yield seconds(page.locator(f"#at:text-is('{at}')").wait_for)


def tab_bytes(running: Browser) -> int:
    """Return what the largest of Chromium's renderers holds, its share of shared pages counted."""
    told = running.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    tabs = [each["id"] for each in told if each["type"] == "renderer"]
    return max(psutil.Process(tab).memory_full_info().pss for tab in tabs)


def main() -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else build.CHECKOUT / "build/page"
    in_node(folder)
    in_chromium(folder)


if __name__ == "__main__":
    sys.exit(main())
