"""Say, in a notebook's new kernel, that the notebook had another one and what became of it.

A kernel that nobody used for a while is ended on Binder and by many hubs. JupyterLab then asks for
a kernel, without a word on why, and the next cell says `NameError`. Outputs stay, so nothing shows
that what they came from is gone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

WORDS = (
    "This is a new kernel: this notebook's earlier one has been ended, by you or because nobody "
    "used it\nfor a while (on Binder that takes ten minutes). The outputs below are still from it, "
    "but what it knew\nis gone: run the notebook again from its first cell."
)
_PREFIX = "lab-earlier-"


def notice(file: str, environment: Mapping[str, str]) -> str:
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
