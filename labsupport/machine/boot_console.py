"""A machine's start, watched: its stages as they pass, and what it says on its console."""

import html
from collections.abc import Sequence

import ipywidgets

from labsupport.figure import style
from labsupport.figure.live import LivePicture, Shown
from labsupport.figure.page import Axes, Page
from labsupport.machine.virtual import WHAT, Stage, VirtualMachine

# The stages of a machine's start: a bar for each, from when it was switched on.

_COLOURS = {
    "shutdown": style.PALE, "firmware": style.SHARED, "kernel": style.KERNEL,
    "first file system": style.THIRD, "system": style.FIRST,
}  # fmt: skip
ROW, THICK, LETTER, GAP = 4.6, 2.6, 0.86, 0.7  # units: a row, a bar in it, a small letter


def finding(stages: Sequence[Stage], *, ready: bool = True) -> str:
    """Say in one line how long it took, and what took longest."""
    total = stages[-1].ended_seconds
    if not ready:
        return f"After {total:.0f} s it is still in the stage “{stages[-1].name}”"
    longest = max(stages, key=lambda stage: stage.seconds)
    share = 100 * longest.seconds / total if total else 0
    return f"Ready for SSH after {total:.0f} s; {share:.0f} % of it is the stage “{longest.name}”"


def words(stages: Sequence[Stage], *, ready: bool = True) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{each.name} {each.seconds:.1f} s ({WHAT[each.name]})" for each in stages]
    return f"{finding(stages, ready=ready)}. In order: {'; '.join(parts)}."


def table(stages: Sequence[Stage]) -> list[tuple[object, ...]]:
    """Return a row for each stage, with a row of headings first."""
    head = ("stage", "began, s", "took, s", "what happens")
    rows = [(s.name, f"{s.began_seconds:.1f}", f"{s.seconds:.1f}", WHAT[s.name]) for s in stages]
    return [head, *rows]


def page(stages: Sequence[Stage], *, ready: bool = True) -> Page:
    """Draw a bar for each stage, the first on top, with its name, seconds and what happens."""
    sheet = Page(35, finding(stages, ready=ready), inches=9.6)
    axes = Axes(sheet, (15.5, 6, 81, ROW * len(_COLOURS)), stages[-1].ended_seconds or 1)
    axes.write_seconds()
    sheet.text(axes.left, axes.bottom + 3.6, "seconds since it was switched on")
    for row, stage in enumerate(stages):
        left, y = axes.x(stage.began_seconds), axes.top + ROW * (row + 0.5)
        place = left, y - THICK / 2, axes.x(stage.ended_seconds) - left, THICK
        sheet.box(*place, style.INK, fill=_COLOURS[stage.name], line=0.8, pad=0)
        sheet.text(axes.left - 0.9, y, stage.name, "body", right=True)
        _label(axes, y, stage)
    return sheet


def _label(axes: Axes, y: float, stage: Stage) -> None:
    """Write next to the bar, on the side that has room; on it, if neither side has."""
    text = f"{stage.seconds:.1f} s: {WHAT[stage.name]}"
    left, right = axes.x(stage.began_seconds), axes.x(stage.ended_seconds)
    if axes.right - right > LETTER * len(text):
        axes.page.text(right + GAP, y, text)
    elif left - axes.left > LETTER * len(text):
        axes.page.text(left - GAP, y, text, right=True)
    else:
        axes.page.text(left + GAP, y, text)


LINES = 12  # of the console that are shown
FRAMES_PER_SECOND = 2


class BootConsole:
    """Shows a machine's start, until it accepts logins: `await BootConsole(vm).run()`.

    Its Stop button ends the watching, not the machine: `vm.wait()` waits on.
    """

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.picture, self.console = LivePicture(stop="Stop watching"), ipywidgets.HTML()

    async def run(self, seconds: float = 300) -> None:
        """Watch for `seconds` at most; then the stages stay as a picture."""
        shown = Shown(ipywidgets.VBox([self.picture, self.console]), "A machine is starting.")
        await self.picture.keep_going(self._step, seconds, FRAMES_PER_SECOND)
        self._paint()
        still = self.picture
        shown.leave(still.image, still.alt, table(self.machine.stages), still.width)

    def _step(self) -> None:
        if self.machine.look():
            self.picture.stopping = True
        self._paint()

    def _paint(self) -> None:
        stages, ready = self.machine.stages, self.machine.progress.is_ready
        sheet = page(stages, ready=ready)
        self.picture.width, self.picture.image = sheet.pixels, sheet.svg()
        self.picture.alt = words(stages, ready=ready)
        self.picture.status = finding(stages) if ready else f"now: {stages[-1].name}"
        said = "\n".join(self.machine.console.splitlines()[-LINES:])
        self.console.value = f"<pre>{html.escape(said)}</pre>"
