"""A machine's start, watched: its stages as they pass, and what it says on its console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import traitlets

from labsupport.views import boot_timeline, style
from labsupport.views.live import LivePicture, Shown
from labsupport.vm.machine.stages import NAMES, Stage

HERE = Path(__file__).parent
LONGEST_CONSOLE = 6000  # characters that are shown
FRAMES_PER_SECOND = 4


class Starts(Protocol):
    """What is needed of a machine."""

    @property
    def stages(self) -> list[Stage]: ...

    @property
    def console(self) -> str: ...

    def look(self) -> bool:
        """Take in what it has said; tell whether it is ready."""


class BootWidget(LivePicture):
    """The widget: `stages` as (name, began, ended), in seconds, and the end of the console."""

    _esm = (HERE / "boot_console.js").read_text()
    _css = (HERE / "boot_console.css").read_text()
    names = traitlets.List(list(NAMES[:-1])).tag(sync=True)
    stages: Any = traitlets.List().tag(sync=True)
    console = traitlets.Unicode("").tag(sync=True)


class BootConsole:
    """Shows a machine's start: `await BootConsole(vm).run()`; it ends when one can log in.

    Its Stop button ends the watching, not the machine: `vm.wait()` waits on.
    """

    def __init__(self, machine: Starts) -> None:
        self.machine = machine
        self.widget = BootWidget()

    async def run(self, seconds: float = 300) -> None:
        """Watch for so many seconds at most; then the stages stay as a picture."""
        shown = Shown(self.widget, "A machine is starting.")
        self._step()
        await self.widget.keep_going(self._step, seconds, FRAMES_PER_SECOND)
        stages: Sequence[Stage] = self.machine.stages
        figure = boot_timeline.figure_of(stages)
        picture, words = style.png(figure), boot_timeline.words(stages)
        shown.leave(picture, words, boot_timeline.table(stages), style.pixels(figure))

    def _step(self) -> None:
        ready = self.machine.look()
        stages = self.machine.stages
        self.widget.stages = [
            (each.name, each.began_seconds, each.ended_seconds) for each in stages
        ]
        self.widget.console = self.machine.console[-LONGEST_CONSOLE:]
        if ready:
            self.widget.status = boot_timeline.finding(stages)
            self.widget.stopping = True
        else:
            self.widget.status = f"now: {stages[-1].name}"
