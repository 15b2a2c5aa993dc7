"""Any form of ENTRYPOINT with any form of CMD and any arguments: choose, `docker run`, see."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labsupport.build import starts
from labsupport.build.starts import Start
from labsupport.build.workbench import Workbench
from labsupport.errors import TimedOut
from labsupport.figure import style
from labsupport.figure.live import Shown

HERE = Path(__file__).parent
PATIENCE_SECONDS = 10.0  # seconds that the notebook waits at most


class StartWidget(anywidget.AnyWidget):
    """The widget: two choices, a line of text, a button, and a picture with its words."""

    _esm = HERE / "start_console.js"
    _css = HERE / "start_console.css"
    choices = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Dict().tag(sync=True)
    png = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    width = traitlets.Int(860).tag(sync=True)


class StartConsole:
    """`StartConsole(bench).show()`; `last` is the outcome of the last run."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.last: Start | None = None

    def run(self, entrypoint: str, cmd: str, typed: str = "") -> Start:
        """Build an image of these two lines, and run it with the arguments in `typed`.

        Raises:
            TimedOut: the program did not end within ten seconds.
            ValueError: a quotation mark is left open.

        """
        self.last = starts.try_start(
            self.bench, entrypoint, cmd, *shlex.split(typed), patience=PATIENCE_SECONDS
        )
        return self.last

    def show(self) -> None:
        """Run the lecture's example with an argument, and show it with the controls."""
        typed = starts.ARGUMENT
        start = self.run(starts.ENTRYPOINTS[1], starts.CMDS[0], typed)
        self.widget = StartWidget(
            choices={"entrypoints": [line or "none" for line in _lists(starts.ENTRYPOINTS)],
                     "cmds": _lists(starts.CMDS)},
            chosen={"entrypoint": 1, "cmd": 0, "typed": typed},
        )  # fmt: skip
        self.widget.on_msg(self._told)
        self._paint(start)
        shown = Shown(self.widget, self.widget.alt)
        shown.leave(self.widget.png, self.widget.alt, start.table(), self.widget.width)

    def _told(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        entrypoint = starts.ENTRYPOINTS[content["entrypoint"]]
        self.widget.busy, self.widget.status = True, "running …"
        try:
            start = self.run(entrypoint, starts.CMDS[content["cmd"]], content["typed"])
        except (TimedOut, ValueError) as error:
            self.widget.status = str(error)
        else:
            self._paint(start)
            self.widget.status = start.finding()
        finally:
            self.widget.busy = False

    def _paint(self, start: Start) -> None:
        figure = starts.assembly(start).figure
        self.widget.width, self.widget.alt = style.pixels(figure), start.words()
        self.widget.png = style.png(figure)


def _lists(lines: tuple[str, ...]) -> list[str]:
    return [line.partition(" ")[2] for line in lines]
