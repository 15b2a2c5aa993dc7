"""The still picture of an image's layers, or of two images side by side."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from labsupport.views import style
from labsupport.views.amounts import amount
from labsupport.views.layers import Bar, Tower, finding, instruction_in_short

WIDTH = 9.2  # inches
TOP, ROW, GAP, BOTTOM = 12.0, 7.2, 1.2, 5.2  # on a page 100 units wide
COLOURS = (style.FIRST, style.SECOND)
CHARACTER = 1.02  # how wide one is, of those that instructions are written in


def needed_height(shown: Sequence[Tower]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + max(len(tower.bars) for tower in shown) * (ROW + GAP) + BOTTOM


def draw_layers(
    axes: Axes, shown: Sequence[Tower], title: str = "", selected: int | None = None
) -> None:
    """Draw one image's layers, or two, into `axes`, which fills its figure."""
    high = needed_height(shown)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.5, 3.2, title or finding(shown), size=style.size("title"), weight="bold",
              va="center")  # fmt: skip
    between = 7.0
    wide = (97.6 - between * (len(shown) - 1)) / len(shown)
    largest = max(bar.size_bytes for tower in shown for bar in tower.bars)
    for place, tower in enumerate(shown):
        left = 1.2 + place * (wide + between)
        axes.text(left, TOP - 3.6, heading(tower), size=style.size("body"), va="center")
        for bar in tower.bars:
            box = (left, high - BOTTOM - bar.number * (ROW + GAP), wide, ROW)
            colour = style.SHARED if bar.shared else COLOURS[place % len(COLOURS)]
            _draw_bar(axes, bar, box, colour, largest, chosen=bar.number == selected)
    if len(shown) > 1:
        _draw_joints(axes, shown, 1.2 + wide, between, high)
    axes.text(1.5, high - BOTTOM / 2 + 0.4, _key(shown), size=style.size("small"), va="center")


def heading(tower: Tower) -> str:
    """An image in a few words."""
    return f"{tower.name}: {amount(tower.size_bytes)}, {len(tower.bars)} layers"


def _key(shown: Sequence[Tower]) -> str:
    words = ["the lowest layer is at the bottom"]
    if any(bar.hidden_bytes for tower in shown for bar in tower.bars):
        words.append("hatched: wasted, a later layer hides it")
    if len(shown) > 1:
        words.append("grey: the same layer in both")
    return ";  ".join(words)


def _draw_bar(
    axes: Axes, bar: Bar, box: tuple[float, float, float, float], colour: str, largest: int, *,
    chosen: bool,
) -> None:  # fmt: skip
    left, top, wide, high = box
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.5, top + 0.5), wide - 1, high - 1, boxstyle="round,pad=0.5", linewidth=1.4,
            facecolor=colour + "14", edgecolor=style.HOST if chosen else colour,
        )
    )  # fmt: skip
    most = int((wide - (13 if bar.cached else 4)) / CHARACTER)
    axes.text(left + 1.4, top + 2.0, instruction_in_short(f"{bar.number}  {bar.instruction}", most),
              size=style.size("small"), va="center", family="monospace")  # fmt: skip
    room = wide * (0.52 if wide > 60 else 0.38)
    length = max(0.35, room * bar.size_bytes / max(1, largest)) if bar.size_bytes else 0.35
    hidden = length * bar.hidden_bytes / max(1, bar.size_bytes)
    axes.add_artist(
        Rectangle((left + 1.4, top + 3.7), length, 2.3, facecolor=colour, edgecolor=colour)
    )
    if hidden:
        axes.add_artist(
            Rectangle((left + 1.4 + length - hidden, top + 3.7), hidden, 2.3, edgecolor=colour,
                      facecolor=style.PAPER, hatch="////", linewidth=1)
        )  # fmt: skip
    axes.text(left + 2.4 + length, top + 4.9, bar.said, size=style.size("small"), va="center",
              weight="bold" if bar.hidden_bytes else "normal")  # fmt: skip
    if bar.cached:
        axes.text(left + wide - 1.2, top + 2.0, "CACHED", size=style.size("small"), va="center",
                  ha="right", weight="bold", color=style.HOST)  # fmt: skip


def _draw_joints(axes: Axes, shown: Sequence[Tower], left: float, wide: float, high: float) -> None:
    """Join what both images have: the same layers lie at the same height, on the same ones."""
    for bar in shown[0].bars:
        if bar.shared:
            top = high - BOTTOM - bar.number * (ROW + GAP)
            axes.add_artist(
                Rectangle((left, top + 1.6), wide, ROW - 3.2, facecolor=style.SHARED + "3A",
                          edgecolor="none")
            )  # fmt: skip
            axes.text(left + wide / 2, top + ROW / 2, "same", size=style.size("small"),
                      ha="center", va="center")  # fmt: skip


def figure_of(shown: Sequence[Tower], title: str = "") -> Figure:
    """Return a figure with the picture."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(shown) / 100)
    draw_layers(figure.add_axes((0, 0, 1, 1)), shown, title)
    return figure
