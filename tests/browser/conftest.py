"""One Chromium for all browser tests, and a JupyterLab for each folder of notebooks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import jupyterlab
from tests.browser.page import NotebookPage, browser, chromium, opened
from tests.notebooks import must_have

expect.set_options(timeout=60_000)  # of its own it gives up after five seconds


@pytest.fixture(scope="session")
def running_chromium() -> Iterator[Browser]:
    if chromium() is None:
        lacking = "needs browser: no Chromium or Chrome on the PATH, and CHROMIUM names none"
        (pytest.fail if "browser" in must_have() else pytest.skip)(lacking)
    with browser() as running:
        yield running


@pytest.fixture
def open_notebook(running_chromium: Browser) -> Iterator[Callable[..., NotebookPage]]:
    """Return what opens a notebook in a JupyterLab of its own."""
    with ExitStack() as at_the_end:

        def open_one(notebook: Path, kernel: str | None = None) -> NotebookPage:
            lab = at_the_end.enter_context(jupyterlab(notebook.parent))
            return at_the_end.enter_context(opened(running_chromium, lab, notebook, kernel))

        yield open_one
