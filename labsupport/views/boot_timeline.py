"""The stages of a machine's start: a bar for each, from when it was switched on."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.views import style
from labsupport.vm.machine.stages import WHAT, Stage

WIDTH = 9.6  # inches
_COLOURS = {"firmware": style.SHARED, "kernel": style.KERNEL, "first file system": style.THIRD}
_LETTER = 0.011  # of the axes' width, for one of the small letters


def finding(stages: Sequence[Stage]) -> str:
    """Say in one line how long it took, and what took longest."""
    if not stages:
        return "The machine has said nothing yet"
    longest = max(stages, key=lambda stage: stage.seconds)
    total = stages[-1].ended_seconds
    share = 100 * longest.seconds / total if total else 0
    return f"Ready for SSH after {total:.0f} s; {share:.0f} % of it is the stage “{longest.name}”"


def words(stages: Sequence[Stage]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{each.name} {each.seconds:.1f} s ({WHAT[each.name]})" for each in stages]
    return f"{finding(stages)}. In order: {'; '.join(parts)}."


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
        colour = _COLOURS.get(stage.name, style.FIRST)
        axes.barh(row, stage.seconds, 0.56, left=stage.began_seconds, color=colour,
                  edgecolor=style.INK, linewidth=0.8)  # fmt: skip
        _label(axes, row, stage, total)


def _label(axes: Axes, row: int, stage: Stage, total: float) -> None:
    """Write beside the bar, on the side that has room; above it, if neither has."""
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


def figure_of(stages: Sequence[Stage]) -> Figure:
    """Return the picture."""
    figure = style.new_figure(WIDTH, 3.3)
    figure.text(0.016, 0.97, finding(stages), size=style.size("title"), weight="bold", va="top")
    draw_stages(figure.add_axes((0.155, 0.17, 0.83, 0.68)), stages)
    return figure
