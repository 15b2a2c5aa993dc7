"""A browser, for the tests that look at the notebooks as a student does."""

from __future__ import annotations

import shutil

from labsupport.probes import facts
from labsupport.probes.children import Refused


def browser() -> str:
    """A Chromium or Chrome that can be executed; it is started only by the browser tests."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    raise Refused(
        "neither chromium nor google-chrome is on the PATH", facts.gather().install("chromium")
    )


PROBES = {"browser": browser}
