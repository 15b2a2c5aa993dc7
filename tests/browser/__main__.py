"""Look at a notebook: `python -m tests.browser notebooks/02_pid_namespaces.ipynb --shots shots`."""

import argparse
import sys
import time
from pathlib import Path

from tests.browser.lab import jupyterlab
from tests.browser.page import browser, opened


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser",
        description="Open notebooks in JupyterLab in Chromium, run all cells, say what is wrong, "
        "and take a picture of the whole page.",
    )
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path, help="a folder for the pictures")
    parser.add_argument("--dark", action="store_true", help="JupyterLab's dark theme")
    parser.add_argument("--kernel", help="a kernelspec's name, such as lab-vm")
    options = parser.parse_args()
    if missing := [str(path) for path in options.notebooks if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")

    root = Path(options.notebooks[0]).resolve().parent
    theme = "dark" if options.dark else "light"
    bad = 0
    with jupyterlab(root, dark=options.dark) as lab, browser() as chromium:
        for notebook in options.notebooks:
            started = time.monotonic()
            with opened(chromium, lab, notebook, options.kernel) as page:
                page.walk(use_controls=False)
                problems = page.problems()
                if options.shots:
                    page.screenshot(options.shots / f"{notebook.stem}-{theme}.png")
            print(f"{notebook.name}: {time.monotonic() - started:.1f} s, {len(problems)} problems")
            for problem in problems:
                print(f"  {problem}")
            bad += bool(problems)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
