"""A sheet for a picture that is made of words, boxes and lines, all in the course's one style.

A picture is a function of plain data that fills a page:

    page = Page(40, "Two of three calls are refused")
    page.box(10, 12, 20, 6, style.FIRST)
    page.text(20, 15, "mkdir", bold=True, centre=True)
    page.show(words(data), table(data))
"""

from collections.abc import Sequence
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.typing import ColorType

from labsupport.figure import style

Point = tuple[float, float]
DASHES = (0, (3, 2))
TITLE = (1.2, 3.0)  # where a title is


class Page:
    """A sheet, `width` by `height` units, y downwards, `inches` wide; or `axes` made one."""

    def __init__(
        self, height: float, title: str = "", *, width: float = 100, inches: float = 8.6,
        axes: Axes | None = None,
    ) -> None:  # fmt: skip
        if axes is None:
            axes = style.new_figure(inches, inches * height / width).add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0), position=(0, 0, 1, 1))
        axes.axis("off")
        self.axes, self.width, self.height = axes, width, height
        self.title = title
        if title:
            self.text(*TITLE, title, "title", bold=True)

    @property
    def figure(self) -> Figure:
        """The figure that the page fills."""
        return cast("Figure", self.axes.figure)

    def text(
        self, x: float, y: float, words: str, size: str = "small", colour: str = style.INK, *,
        bold: bool = False, mono: bool = False, centre: bool = False, **more: Any,
    ) -> Text:  # fmt: skip
        """Write words that begin at x, or have their middle there; `more` goes to `Axes.text`."""
        look: dict[str, Any] = {
            "size": style.size(size),
            "color": colour,
            "va": "center",
            "ha": "center" if centre else "left",
        }
        if bold:
            look["weight"] = "bold"
        if mono:
            look["family"] = "monospace"
        return self.axes.text(x, y, words, usetex=False, **(look | more))

    def box(
        self, left: float, top: float, width: float, height: float, colour: str = style.INK, *,
        fill: ColorType = "none", dashed: bool = False, pad: float = 0.3, **more: Any,
    ) -> FancyBboxPatch:  # fmt: skip
        """Draw a round box; `fill` may be (colour, alpha), and `more` goes to `FancyBboxPatch`."""
        look: dict[str, Any] = {"edgecolor": colour, "facecolor": fill, "linewidth": 1.8}
        if dashed:
            look["linestyle"] = DASHES
        corner = (left + pad, top + pad)
        patch = FancyBboxPatch(
            corner, width - 2 * pad, height - 2 * pad, boxstyle=f"round,pad={pad}", **(look | more)
        )
        self.axes.add_artist(patch)
        return patch

    def line(
        self, *points: Point, colour: str = style.INK, dashed: bool = False, **more: Any
    ) -> Line2D:
        """Draw a line through points; `more` goes to `Line2D`."""
        look: dict[str, Any] = {"color": colour, "linewidth": 2, "solid_capstyle": "butt"}
        if dashed:
            look["linestyle"] = DASHES
        line = Line2D(*zip(*points, strict=True), **(look | more))
        self.axes.add_artist(line)
        return line

    def arrow(self, start: Point, end: Point, colour: str = style.INK, **more: Any) -> None:
        """Draw an arrow; `more` goes to the `arrowprops` of `Axes.annotate`."""
        look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate("", xy=end, xytext=start, arrowprops=look | more)

    def key(self, y: float, entries: Sequence[tuple[float, str, dict[str, Any]]]) -> None:
        """Say what boxes mean, in a row: (left, words, what `box` is told to draw the sample)."""
        for left, words, look in entries:
            self.box(left - 0.3, y - 0.9, 2.8, 1.8, **({"linewidth": 1.6} | look))
            self.text(left + 3.6, y, words)

    def show(self, alt: str, table: Sequence[Sequence[object]] = ()) -> None:
        """Display the page with its text alternative and the table behind it."""
        style.show(self.figure, alt, table)
