"""Draws what `views.curves` has laid out: the backdrop once, the curves at every reading."""

from __future__ import annotations

from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from labsupport.views import style
from labsupport.views.curves import LEFT, RIGHT, Backdrop, Curve, Curves, Label, Mark, Panel, scene
from labsupport.views.painter import Box
from labsupport.views.pidmap import height_of

COLOUR = style.FIRST
SHADES = 15
FAINT = "#E4E4E4"
BAR_HIGH = 0.9  # of a stretch in which the kernel struck


def draw_curves(axes: Axes, data: Curves) -> None:
    """Draw the whole picture into `axes`, which fills its figure."""
    picture = scene(data, height_of(axes))
    draw_backdrop(axes, picture.background)
    for box, content in picture.tiles.items():
        draw_tile(axes, box, content)


def draw_backdrop(axes: Axes, backdrop: Any) -> None:
    """Draw boxes, scales, limits and marks."""
    high = height_of(axes)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    assert isinstance(backdrop, Backdrop)  # noqa: S101 (the painter knows only hashables)
    for panel in backdrop.panels:
        _draw_panel(axes, panel)
    bottom = backdrop.panels[-1].box[1] + backdrop.panels[-1].box[3]
    for place, words in backdrop.times:
        axes.add_artist(Line2D([place, place], [bottom, bottom + 0.6], color=style.INK, lw=1))
        axes.text(place, bottom + 0.8, words, size=style.size("small"), ha="center", va="top")


def palette() -> Any:
    """Return an image with the colours of this picture, and their shades towards paper."""
    from PIL import Image, ImageColor

    paper = ImageColor.getrgb(style.PAPER)
    shades = [
        round(part * step / SHADES + whole * (1 - step / SHADES))
        for name in (style.INK, COLOUR, style.KERNEL)
        for step in range(SHADES + 1)
        for part, whole in zip(ImageColor.getrgb(name), paper, strict=True)
    ]
    image = Image.new("P", (1, 1))
    image.putpalette(shades)
    return image


def _draw_panel(axes: Axes, panel: Panel) -> None:
    left, top, width, high = panel.box
    axes.add_artist(
        Rectangle((left, top), width, high, facecolor="none", edgecolor=FAINT, linewidth=1)
    )
    axes.text(LEFT, top - 0.5, panel.heading, size=style.size("small"), weight="bold", va="bottom")
    for place, words in panel.ticks:
        axes.text(left - 0.7, place, words, size=style.size("small") - 1, ha="right", va="center")
    if panel.missing:
        axes.text(left + width / 2, top + high / 2, panel.missing, size=style.size("body"),
                  ha="center", va="center", style="italic")  # fmt: skip
    if panel.limit:
        place, words = panel.limit
        axes.text(RIGHT + 1, place, words, size=style.size("small"), va="center", weight="bold")
    _draw_marks(axes, panel)


def _draw_marks(axes: Axes, panel: Panel) -> None:
    """Draw where the kernel struck: a line down, and its name at the top."""
    _, top, _, high = panel.box
    for mark in panel.marks:
        xs, ys = [mark.place, mark.place], [top, top + high]
        axes.add_artist(Line2D(xs, ys, color=style.KERNEL, lw=1.4, linestyle=":"))
        if mark.words:
            _draw_mark_words(axes, mark, top)


def _draw_mark_words(axes: Axes, mark: Mark, top: float) -> None:
    side = -1 if mark.before else 1
    axes.text(
        mark.place + 0.5 * side, top + 1.4, f"\N{MULTIPLICATION X} {mark.words}",
        size=style.size("small"), color=style.KERNEL, weight="bold", va="center",
        ha="right" if mark.before else "left",
        bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.8}, zorder=5,
    )  # fmt: skip


def draw_tile(axes: Axes, box: Box, content: Curve | Label | str) -> list[Artist]:
    """Draw a curve, its last value, or the title; return the artists."""
    if isinstance(content, str):
        middle = box[1] + box[3] / 2
        return [
            axes.text(box[0], middle, content, size=style.size("large"), weight="bold", va="center")
        ]
    if isinstance(content, Label):
        return [
            axes.text(
                RIGHT + 1, content.place, content.words, size=style.size("small"), va="center"
            )
        ]
    drawn = [*_line(content), *_bars(content), *_limit(content)]
    for artist in drawn:
        axes.add_artist(artist)
    return drawn


def _line(curve: Curve) -> list[Artist]:
    if len(curve.points) < 2:
        return []
    first, last = curve.points[0][0], curve.points[-1][0]
    outline = [(first, curve.floor), *curve.points, (last, curve.floor)]
    xs, ys = zip(*curve.points, strict=True)
    return [
        Polygon(outline, closed=True, facecolor=COLOUR + "33", edgecolor="none"),
        Line2D(xs, ys, color=COLOUR, lw=2.4, solid_joinstyle="round"),
    ]


def _bars(curve: Curve) -> list[Artist]:
    return [
        Rectangle((left - 0.25, curve.floor - BAR_HIGH), max(0.5, right - left), BAR_HIGH,
                  facecolor=style.KERNEL, edgecolor="none")
        for left, right in curve.bars
    ]  # fmt: skip


def _limit(curve: Curve) -> list[Artist]:
    return [
        Line2D([begin, end], [place, place], color=style.INK, lw=1.6, linestyle=(0, (5, 3)))
        for begin, end, place in curve.steps
    ]
