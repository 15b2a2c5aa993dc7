"""What the launcher has to say, shown above the output of a notebook's first cell.

This is an IPython extension, too: it shows the words that it finds in the environment.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the launcher loads this module, and IPython takes 40 ms
    from IPython.core.interactiveshell import InteractiveShell

VARIABLE = "LAB_NOTICE"
# A kernel that nobody used for a while is ended on Binder and by many hubs. JupyterLab then asks
# for a kernel without saying why, and the next cell says `NameError`. Outputs stay, so nothing
# shows that the state behind them is gone.
WORDS = (
    "This is a new kernel: this notebook's earlier one has been ended, by you or because nobody "
    "used it\nfor a while (on Binder that takes ten minutes). The outputs below are still from it, "
    "but what it knew\nis gone: run the notebook again from its first cell."
)
_PREFIX = "lab-earlier-"


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Arrange for the notice in the environment to be shown once."""
    words = os.environ.pop(VARIABLE, "")

    def show(_info: object) -> None:
        shell.events.unregister("pre_run_cell", show)
        print(words, file=sys.stderr)

    if words:
        shell.events.register("pre_run_cell", show)


def of_earlier_kernel(file: str, environment: Mapping[str, str]) -> str:
    """Return what to say to the student (may be empty), and note this kernel for the next one.

    `file` is the connection file, in whose folder the notes are; a restart keeps it, and whoever
    restarts knows that. The environment names the notebook and its server, as Jupyter sets them.
    """
    notebook, server = environment.get("JPY_SESSION_NAME"), environment.get("JPY_PARENT_PID")
    folder = Path(file).parent
    if not notebook or not server or not os.access(folder, os.W_OK):
        return ""
    _forget(folder)
    note = folder / f"{_PREFIX}{server}-{hashlib.sha256(notebook.encode()).hexdigest()[:16]}"
    before = note.read_text() if note.exists() else ""
    note.write_text(Path(file).name)
    return WORDS if before not in ("", Path(file).name) else ""


def _forget(folder: Path) -> None:
    """Remove the notes of servers that have ended."""
    for note in folder.glob(f"{_PREFIX}*"):
        server = note.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", server).exists():
            note.unlink(missing_ok=True)
