"""Run notebooks in the built page, in Chromium: `python -m tests.page 02 06 --shots shots`."""

import argparse
import sys
import time
from pathlib import Path

from labsupport.page.build import NOTEBOOKS
from tests.browser.page import browser
from tests.page.test_browser import SITE, opened, served

CELL_SECONDS = 600  # on a busy machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.page", description=__doc__)
    parser.add_argument("notebooks", nargs="+", help="their numbers: 02")
    parser.add_argument("--shots", type=Path, help="a folder for pictures of the whole page")
    options = parser.parse_args()
    bad = 0
    with served(SITE) as address, browser() as running:
        for path in NOTEBOOKS:
            if path.name.startswith(tuple(options.notebooks)):
                bad += _run(running, address, path.name, options.shots)
    return int(bad > 0)


def _run(running, address, name, shots):
    """Run cell after cell, as a student does; return how many problems there were."""
    began = time.monotonic()
    with opened(running, address, name) as page:
        page.walk(CELL_SECONDS, use_controls=False)
        seconds, problems = time.monotonic() - began, page.problems()
        if shots:
            page.screenshot(shots / f"{name.partition('.')[0]}-page.png")
    print(f"{name}: {seconds:.0f} s, {len(problems)} problems", *problems, sep="\n  ", flush=True)
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
