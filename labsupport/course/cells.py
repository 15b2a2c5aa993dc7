"""The cells that a student has run, as written: an exercise keeps those that solved it.

They are noted in memory only, from `%load_ext labsupport` on, so that a teacher can run an answer
once more (`./lab recheck`). Outside of IPython there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_sources: list[str] = []


def load(shell: InteractiveShell) -> None:
    """Note each cell from now on; loading twice does it once."""
    if _noted not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _noted)


def unload(shell: InteractiveShell) -> None:
    """Note no more."""
    if _noted in shell.events.callbacks["pre_run_cell"]:
        shell.events.unregister("pre_run_cell", _noted)


def here() -> int:
    """Return the place in the list of cells: the running one is the last."""
    return len(_sources)


def since(place: int) -> str:
    """Return what was run after a place and before the running cell, as one text."""
    return "\n\n".join(source.strip() for source in _sources[place:-1])


def _noted(info: Any) -> None:
    _sources.append(info.raw_cell)
