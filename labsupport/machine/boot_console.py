"""A machine's start, watched: its stages as they pass, and what it says on its console."""

import html
from collections.abc import Sequence

import ipywidgets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.figure import plot, style
from labsupport.figure.live import LivePicture, Shown
from labsupport.machine.virtual import WHAT, Stage, VirtualMachine

# The stages of a machine's start: a bar for each, from when it was switched on.

WIDTH = 9.6  # inches
_COLOURS = {
    "shutdown": style.PALE, "firmware": style.SHARED, "kernel": style.KERNEL,
    "first file system": style.THIRD, "system": style.FIRST,
}  # fmt: skip
_LETTER = 0.011  # of the axes' width, for one of the small letters


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


def draw_stages(axes: Axes, stages: Sequence[Stage]) -> None:
    """Draw a bar for each stage, the first on top, with its name, seconds and what happens."""
    total = stages[-1].ended_seconds
    axes.set(xlim=(0, total * 1.02), ylim=(len(stages) - 0.3, -0.7))
    axes.set_yticks(range(len(stages)), [each.name for each in stages], size=style.size("body"))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=style.size("small"))
    axes.set_xlabel("seconds since it was switched on", size=style.size("small"))
    axes.spines[["top", "right", "left"]].set_visible(False)
    for row, stage in enumerate(stages):
        axes.barh(row, stage.seconds, 0.56, left=stage.began_seconds, color=_COLOURS[stage.name],
                  edgecolor=style.INK, linewidth=0.8)  # fmt: skip
        _label(axes, row, stage, total)


def _label(axes: Axes, row: int, stage: Stage, total: float) -> None:
    """Write next to the bar, on the side that has room; above it, if neither side has."""
    text = f"{stage.seconds:.1f} s: {WHAT[stage.name]}"
    wide, gap = _LETTER * len(text), 0.008 * total
    right = 1 - stage.ended_seconds / total
    if right > wide:
        place, side = stage.ended_seconds + gap, "left"
    elif stage.began_seconds / total > wide:
        place, side = stage.began_seconds - gap, "right"
    else:
        place, side = stage.began_seconds + gap, "left"
    axes.text(place, row, text, size=style.size("small"), ha=side, va="center", color=style.INK)


def figure_of(stages: Sequence[Stage], *, ready: bool = True) -> Figure:
    """Return the picture."""
    figure = plot.new_figure(WIDTH, 3.3)
    figure.text(
        0.016, 0.97, finding(stages, ready=ready), size=style.size("title"), weight="bold", va="top"
    )
    draw_stages(figure.add_axes((0.155, 0.17, 0.83, 0.68)), stages)
    return figure


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
        figure = figure_of(stages, ready=ready)
        self.picture.width, self.picture.alt = plot.pixels(figure), words(stages, ready=ready)
        self.picture.image = plot.png(figure)
        self.picture.status = finding(stages) if ready else f"now: {stages[-1].name}"
        said = "\n".join(self.machine.console.splitlines()[-LINES:])
        self.console.value = f"<pre>{html.escape(said)}</pre>"
