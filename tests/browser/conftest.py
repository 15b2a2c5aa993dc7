"""One Chromium for all browser tests, and a JupyterLab for each folder of notebooks."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.page import browser, chromium
from tests.notebooks import must_have

expect.set_options(timeout=60_000)  # of its own it gives up after five seconds


@pytest.fixture(scope="session")
def running_chromium() -> Iterator[Browser]:
    if chromium() is None:
        lacking = "needs browser: no Chromium or Chrome on the PATH, and CHROMIUM names none"
        (pytest.fail if "browser" in must_have() else pytest.skip)(lacking)
    with browser() as running:
        yield running
