"""An IPython extension: show, above the output of the first cell, what the launcher has to say."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the launcher loads this module, and IPython takes 40 ms
    from IPython.core.interactiveshell import InteractiveShell

VARIABLE = "LAB_NOTICE"


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Arrange for the notice in the environment to be shown once."""
    words = os.environ.pop(VARIABLE, "")

    def show(_info: object) -> None:
        shell.events.unregister("pre_run_cell", show)
        print(words, file=sys.stderr)

    if words:
        shell.events.register("pre_run_cell", show)
