"""The syscall grid to walk through: hover or arrow keys, names, filters, several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labsupport.linux.filters.verdicts import Verdict
from labsupport.views import style, syscall_grid
from labsupport.views.live import Shown

HERE = Path(__file__).parent


class SyscallConsole(anywidget.AnyWidget):
    """The widget; `data` is what is shown, as plain data."""

    _esm = HERE / "syscall_console.js"
    _css = HERE / "syscall_console.css"
    data = traitlets.Dict().tag(sync=True)


class SyscallGrid:
    """Shows verdicts of processes: `SyscallGrid({"docker run": Filter.of(pid).verdicts()})`.

    `show()` gives a grid that answers to the pointer and the arrow keys and changes between the
    processes; the output that is saved also holds a still picture of the first one. `draw()` shows
    only that.

    Raises:
        ValueError: the verdicts are not of the same system calls.

    """

    def __init__(self, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
        self.verdicts = {who: list(each) for who, each in verdicts.items()}
        names = [[verdict.name for verdict in each] for each in self.verdicts.values()]
        if not names or any(each != names[0] for each in names):
            raise ValueError("verdicts of the same system calls are needed, of one kernel")

    def show(self) -> None:
        """Show the grid to walk through."""
        who, first = next(iter(self.verdicts.items()))
        said = " ".join(
            syscall_grid.finding(each, name) + "." for name, each in self.verdicts.items()
        )
        shown = Shown(SyscallConsole(data=as_data(self.verdicts)), said)
        figure = syscall_grid.figure_of(first, who)
        words = syscall_grid.words(first, who)
        shown.leave(
            style.png(figure), words, syscall_grid.table(self.verdicts), style.pixels(figure)
        )

    def draw(self, who: str | None = None) -> None:
        """Show the still picture of one of the processes, by default the first."""
        name = next(iter(self.verdicts)) if who is None else who
        syscall_grid.show_grid(self.verdicts[name], name)


def as_data(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, Any]:
    """Return what the widget takes: the processes, the groups, each call with its verdicts."""
    columns = list(verdicts.values())
    calls = [
        {
            "number": same[0].number,
            "name": same[0].name,
            "group": same[0].group,
            "verdicts": [{"kind": each.kind, "reason": each.reason} for each in same],
        }
        for same in zip(*columns, strict=True)
    ]
    return {
        "who": list(verdicts),
        "groups": list(syscall_grid.by_group(columns[0])),
        "calls": calls,
    }
