"""A sheet for a picture that is made of words, boxes and lines, all in the course's one style.

A picture is a function of plain data that fills a page:

    page = Page(40, "Two of three calls are refused")
    page.box(10, 12, 20, 6, style.FIRST)
    page.text(20, 15, "mkdir", bold=True, centre=True)
    page.show(words(data), table(data))

It is written as SVG, in milliseconds, also where floats are slow (matplotlib takes seconds there).
"""

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from labsupport.figure import style

Point = tuple[float, float]
DASHES, DOTS = (3.0, 2.0), (1.0, 1.2)  # in line widths
TITLE = (1.2, 3.0)  # where a title is
PIXELS_PER_POINT = style.PIXELS_PER_INCH / 72
WORDS = "DejaVu Sans, Verdana, sans-serif"  # Verdana is as wide
CODE = "DejaVu Sans Mono, Menlo, Consolas, monospace"
BASELINE = {"middle": 0.35, "top": 0.93, "bottom": -0.24, "baseline": 0.0}  # in font sizes
LINE = 1.2  # from line to line, in font sizes
HEAD = 4.0  # of an arrow: its length in points, where the line is thin
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Page:
    """A sheet, `width` by `height` units, y downwards, `inches` wide.

    Lines (`line`) are so many points wide. Colours are `#RRGGBB`, of a filling `#RRGGBBAA`, too.
    What has the larger `above` lies over the rest.
    """

    width = 100

    def __init__(self, height: float, title: str = "", *, inches: float = 8.6) -> None:
        self.height, self.title = height, title
        self.pixels = round(inches * style.PIXELS_PER_INCH)
        self._unit = self.pixels / self.width
        self._drawn: list[tuple[float, str]] = []
        if title:
            self.text(*TITLE, title, "title", bold=True)

    def text(
        self, x: float, y: float, words: str, size: str = "small", colour: str = style.INK, *,
        bold: bool = False, mono: bool = False, italic: bool = False, centre: bool = False,
        right: bool = False, at: str = "middle", tab: bool = False, above: float = 3,
    ) -> None:  # fmt: skip
        """Write words that begin at x, have their middle there (`centre`) or their end (`right`).

        y is the `at` of the lines: their middle, top or bottom, or the first one's baseline. A
        `tab` interrupts what it lies on.
        """
        points = style.SIZES[size] * PIXELS_PER_POINT
        lines = NOT_XML.sub("\ufffd", words).split("\n")
        before = {"middle": 0.5, "bottom": 1.0}.get(at, 0.0) * (len(lines) - 1) * LINE
        look = f" font-family='{CODE}'" * mono
        look += " font-weight='bold'" * bold + " font-style='italic'" * italic
        look += " text-anchor='middle'" * centre + " text-anchor='end'" * right
        if tab:
            look += f" stroke='{style.PAPER}' stroke-width='8' paint-order='stroke'"
        for number, line in enumerate(lines):
            baseline = y * self._unit + (BASELINE[at] + number * LINE - before) * points
            place = f"x='{self._at(x)}' y='{baseline:.1f}' font-size='{points:.1f}'"
            self._add(above, f"<text {place} fill='{colour}'{look}>{escape(line)}</text>")

    def box(
        self, left: float, top: float, width: float, height: float, colour: str = style.INK, *,
        fill: str = "none", dashed: bool = False, pad: float = 0.3, line: float = 1.8,
        hatched: bool = False, above: float = 1,
    ) -> None:  # fmt: skip
        """Draw a box whose corners have the radius `pad`."""
        place = f"x='{self._at(left)}' y='{self._at(top)}' rx='{self._at(pad)}'"
        size = f"width='{self._at(width)}' height='{self._at(height)}'"
        look = _painted("fill", fill) + _stroke(colour, line, DASHES if dashed else ())
        self._add(above, f"<rect {place} {size}{look}/>")
        if hatched:  # by lines from the lower left to the upper right
            wide, high = self._at(width), self._at(height)
            stripes = "".join(
                f"M{self._at(left) + min(at, wide):.1f} {self._at(top) + max(0.0, at - wide):.1f}"
                f"L{self._at(left) + max(0.0, at - high):.1f} {self._at(top) + min(at, high):.1f}"
                for at in range(6, int(wide + high), 6)
            )
            self._add(above, f"<path d='{stripes}'{_stroke(colour, 1)}/>")

    def circle(
        self, x: float, y: float, radius: float, colour: str = "none", *, fill: str = "none",
        line: float = 1.4, above: float = 1,
    ) -> None:  # fmt: skip
        """Draw a circle around (x, y)."""
        place = f"cx='{self._at(x)}' cy='{self._at(y)}' r='{self._at(radius)}'"
        self._add(above, f"<circle {place}{_painted('fill', fill)}{_stroke(colour, line)}/>")

    def line(
        self, *points: Point, colour: str = style.INK, dashes: Sequence[float] = (),
        line: float = 2, above: float = 2,
    ) -> None:  # fmt: skip
        """Draw a line through points."""
        way = " ".join(f"{self._at(x)},{self._at(y)}" for x, y in points)
        look = f"fill='none' stroke-linejoin='round'{_stroke(colour, line, dashes)}"
        self._add(above, f"<polyline points='{way}' {look}/>")

    def cross(self, x: float, y: float, side: float, colour: str, *, line: float = 1) -> None:
        """Draw a cross, `side` units wide."""
        left, long = self._at(x - side / 2), self._at(side)
        ends = (self._at(y - side / 2), long), (self._at(y + side / 2), -long)
        way = "".join(f"M{left} {begin}l{long} {rise}" for begin, rise in ends)
        self._add(3, f"<path d='{way}'{_stroke(colour, line)}/>")

    def squares(
        self, middles: Sequence[Point], side: float, colour: str, *, fill: str, line: float = 1
    ) -> None:
        """Draw many squares as one shape."""
        long = self._at(side)
        at = ((self._at(x - side / 2), self._at(y - side / 2)) for x, y in middles)
        way = "".join(f"M{x} {y}h{long}v{long}h-{long}z" for x, y in at)
        self._add(1, f"<path d='{way}'{_painted('fill', fill)}{_stroke(colour, line)}/>")

    def arrow(
        self, start: Point, end: Point, colour: str = style.INK, *, line: float = 1.8,
        head: float = HEAD,
    ) -> None:  # fmt: skip
        """Draw an arrow whose head is `head` points long, and longer where the line is wide."""
        (x, y), (to_x, to_y) = start, end
        length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5 or 1
        long = (head + 1.5 * line) * PIXELS_PER_POINT / self._unit
        along_x, along_y = (to_x - x) / length * long, (to_y - y) / length * long
        neck = to_x - along_x, to_y - along_y
        self.line(start, neck, colour=colour, line=line, above=3)
        sides = [(neck[0] - k * along_y, neck[1] + k * along_x) for k in (0.45, -0.45)]
        corners = " ".join(f"{self._at(x)},{self._at(y)}" for x, y in (end, *sides))
        self._add(3, f"<polygon points='{corners}' fill='{colour}'/>")

    def key(self, y: float, entries: Sequence[tuple[float, str, dict[str, Any]]]) -> None:
        """Say what boxes mean, in a row: (left, words, what `box` is told to draw the sample)."""
        for left, words, look in entries:
            self.box(left - 0.3, y - 0.9, 2.8, 1.8, **({"line": 1.6} | look))
            self.text(left + 3.6, y, words)

    def svg(self) -> bytes:
        """Return the picture."""
        high = round(self.height * self._unit)
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.pixels}' height='{high}' "
            f"viewBox='0 0 {self.pixels} {high}' font-family='{WORDS}' xml:space='preserve'>"
            f"<rect width='100%' height='100%' fill='{style.PAPER}'/>"
        )
        drawn = sorted(self._drawn, key=lambda each: each[0])
        return "\n".join([head, *(mark for _, mark in drawn), "</svg>"]).encode()

    def show(self, alt: str, table: Sequence[Sequence[object]] = ()) -> None:
        """Display the page with its text alternative and the table behind it."""
        from IPython.display import display

        display(style.bundle(self.svg(), alt, table, self.pixels), raw=True)

    def _at(self, units: float) -> float:
        return round(units * self._unit, 1)

    def _add(self, above: float, mark: str) -> None:
        self._drawn.append((above, mark))


class Axes:
    """A frame on a page, from 0 to `end` along and from 0 to `most` upwards.

    `place` is its left edge, top, width and height, in units of the page. What is above the scale
    lies on its edge.
    """

    def __init__(
        self, page: Page, place: tuple[float, float, float, float], end: float, most: float = 1
    ) -> None:
        self.page, self.end, self.most = page, end, most
        self.left, self.top, self.wide, self.high = place
        self.bottom, self.right = self.top + self.high, self.left + self.wide
        way = (self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)
        page.line(*way, line=0.8, above=1)

    def x(self, value: float) -> float:
        return self.left + self.wide * value / self.end

    def y(self, value: float) -> float:
        return self.bottom - self.high * min(1, value / self.most)

    def curve(self, points: Sequence[Point], **look: Any) -> None:
        """Draw a line through points."""
        self.page.line(*((self.x(at), self.y(value)) for at, value in points), **look)

    def steps(self, points: Sequence[Point], until: float, **look: Any) -> None:
        """Draw what holds until it is changed, and the last value `until` the end."""
        corners = [points[0]]
        for at, value in points:
            if value != corners[-1][1]:
                corners += [(at, corners[-1][1]), (at, value)]
        self.curve([*corners, (until, corners[-1][1])], **look)

    def write(self, value: float, words: str) -> None:
        """Write a value beside its place."""
        self.page.text(self.left - 0.8, self.y(value), words, right=True)

    def write_seconds(self, most: int = 10) -> None:
        """Write seconds below, about so many."""
        for at in ticks(self.end, most):
            self.page.text(self.x(at), self.bottom + 1.6, f"{at:g} s", centre=True)


def ticks(end: float, most: int) -> list[float]:
    """Return round numbers from 0 to an end, equally far apart: `most` of them behind 0."""
    power: float = 10 ** math.floor(math.log10(end / most))
    step = power * next(step for step in (1, 2, 5, 10) if end <= step * power * most * 1.001)
    return [number * step for number in range(int(end / step * 1.001) + 1)]


def _painted(what: str, colour: str) -> str:
    """Write a colour as every reader of SVG knows it: few know one with an alpha."""
    if len(colour) == len("#RRGGBBAA"):
        return f" {what}='{colour[:7]}' {what}-opacity='{int(colour[7:], 16) / 255:.2f}'"
    return f" {what}='{colour}'"


def _stroke(colour: str, points: float, dashes: Sequence[float] = ()) -> str:
    if colour == "none" or not points:
        return ""
    wide = points * PIXELS_PER_POINT
    broken = " ".join(f"{each * wide:.1f}" for each in dashes)
    gaps = f" stroke-dasharray='{broken}'" if broken else ""
    return f"{_painted('stroke', colour)} stroke-width='{wide:.1f}'{gaps}"
