"""An image's layers, or those of two images side by side, as stacks; and an image's history.

The lowest layer is at the bottom. A layer that two images share is grey, and is in both at the same
height.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from labsupport.build.build import Build
from labsupport.build.log import LAYER_MAKERS, instruction, is_ours, keyword
from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import UNITS, PlainTable, Tabled, amount
from labsupport.image.image import Image

WORTH_TELLING = 0.1  # as much waste is the finding, less is not
MOST_IMAGES = 2


def instruction_in_short(text: str, most: int = 60) -> str:
    """Cut an instruction to that many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True)
class Bar:
    """A layer to be drawn, with what it does.

    `added`, `changed` and `deleted` count names. Of its bytes, nobody sees `hidden_bytes`, since a
    later layer hides them. `cached` tells whether its build had it from before, if that is known;
    `shared` whether another of the images has it, too.
    """

    number: int
    instruction: str
    size_bytes: int
    hidden_bytes: int
    added: int
    changed: int
    deleted: int
    cached: bool | None = None
    shared: bool = False

    @property
    def said(self) -> str:
        """Its size, and what else is to be said of it."""
        wasted = f", {amount(self.hidden_bytes)} wasted" if self.hidden_bytes else ""
        deletes = f", deletes {self.deleted}" if self.deleted else ""
        return amount(self.size_bytes) + wasted + deletes


@dataclass(frozen=True)
class Tower:
    """An image to be drawn: its layers, the lowest first."""

    name: str
    bars: tuple[Bar, ...]
    size_bytes: int
    wasted_bytes: int

    @property
    def heading(self) -> str:
        return f"{self.name}: {amount(self.size_bytes)}, {len(self.bars)} layers"


def towers(images: Mapping[str, Image], builds: Mapping[str, Build] | None = None) -> list[Tower]:
    """Take from images what is to be drawn; `builds` are those that made them, as far as known."""
    # each layer is named by itself and all below it: an engine stores only such layers once
    keys = {
        name: list(accumulate((layer.diff_id for layer in image.layers), "{} {}".format))
        for name, image in images.items()
    }
    found = []
    for name, image in images.items():
        build = (builds or {}).get(name)
        cached = _cached(image, build) if build else {}
        elsewhere = {key for other in keys if other != name for key in keys[other]}
        hidden: Counter[int] = Counter()
        for number, path in image.hidden:
            hidden[number] += image.layers[number - 1].files[path].size_bytes
        bars = (
            Bar(
                layer.number, instruction(layer.created_by), layer.size_bytes,
                hidden[layer.number], len(layer.added), len(layer.changed),
                len(layer.deleted), cached.get(layer.number), key in elsewhere,
            )
            for layer, key in zip(image.layers, keys[name], strict=True)
        )  # fmt: skip
        found.append(Tower(name, tuple(bars), image.size_bytes, image.wasted_bytes))
    return found


def _cached(image: Image, build: Build) -> dict[int, bool]:
    """Tell for layers, by number, whether the build had them cached.

    A build's steps are the last of the image's history; both are recognised by their first words,
    since builders write the rest in their own ways and leave some steps out.
    """
    steps = [s for s in build.steps if s.instruction.split(" ")[0].upper() in LAYER_MAKERS]
    lines = [line for line in image.history if keyword(line.created_by) in LAYER_MAKERS]
    pairs = zip(reversed(steps), reversed(lines), strict=False)
    return {line.layer.number: step.cached for step, line in pairs if line.layer}


class LayerExplorer:
    """Shows layers: `LayerExplorer({"mine": image})`, or two images with what they share.

    `builds` are builds by the same names: their cache hits are marked. What is in a layer is in
    `image.layers`. Raises `ValueError`.
    """

    def __init__(
        self, images: Image | Mapping[str, Image], builds: Mapping[str, Build] | None = None
    ) -> None:
        if not isinstance(images, Mapping):
            images = {images.names[0] if images.names else images.digest[7:19]: images}
        if not 1 <= len(images) <= MOST_IMAGES:
            raise ValueError(f"one image or two are shown, not {len(images)}")
        self.towers = towers(images, builds)

    def show(self) -> None:
        """Show the stacks, with their words and the table behind them."""
        page(self.towers).show(words(self.towers), table(self.towers))


def finding(shown: Sequence[Tower]) -> str:
    """Say in one line what is to be seen."""
    if len(shown) > 1:
        shared = [bar for bar in shown[0].bars if bar.shared]
        bytes_ = amount(sum(bar.size_bytes for bar in shared))
        what = "1 layer is" if len(shared) == 1 else f"{len(shared)} layers are"
        return f"{what} in both, {bytes_} stored once" if shared else "They share no layer"
    (tower,) = shown
    hidden = sum(bar.hidden_bytes for bar in tower.bars)
    if hidden > WORTH_TELLING * tower.size_bytes:
        return f"{amount(hidden)} of {amount(tower.size_bytes)} are deleted, and still there"
    largest = max(tower.bars, key=lambda bar: bar.size_bytes)
    share = 100 * largest.size_bytes / max(1, tower.size_bytes)
    return f"{share:.0f} % of {amount(tower.size_bytes)} are in layer {largest.number}"


# --- the picture ----------------------------------------------------------------------------------

WIDTH = 9.2  # inches
CHARACTER = 1.02  # width of a character in which instructions are written
TOP, ROW, BOTTOM = 12.0, 8.4, 5.2  # on a page 100 units wide
BETWEEN = 7.0  # two images
Table = list[tuple[object, ...]]


def words(shown: Sequence[Tower]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(shown)}."]
    for tower in shown:
        layers = "; ".join(
            f"{bar.number} {instruction_in_short(bar.instruction)}, "
            + ", ".join([bar.said, *_marks(bar)])
            for bar in tower.bars
        )
        parts.append(
            f"{tower.name}: {amount(tower.size_bytes)} in {len(tower.bars)} layers, "
            f"{amount(tower.wasted_bytes)} wasted. From the lowest: {layers}."
        )
    return " ".join(parts)


def _marks(bar: Bar) -> list[str]:
    return ["shared"] * bar.shared + ["CACHED"] * bool(bar.cached)


def table(shown: Sequence[Tower]) -> Table:
    """The same as rows, each image from its uppermost layer down."""
    head = ("image", "layer", "instruction", "size", "wasted", "added", "changed", "deleted", "")
    return [head, *(_row(tower, bar) for tower in shown for bar in reversed(tower.bars))]


def _row(tower: Tower, bar: Bar) -> tuple[object, ...]:
    counts = bar.added, bar.changed, bar.deleted
    name = instruction_in_short(bar.instruction, 120)
    sizes = amount(bar.size_bytes), amount(bar.hidden_bytes)
    return tower.name, bar.number, name, *sizes, *counts, ", ".join(_marks(bar))


def page(shown: Sequence[Tower]) -> Page:
    """Draw the layers of one image, or of two."""
    floor = TOP + max(len(tower.bars) for tower in shown) * ROW
    sheet = Page(floor + BOTTOM, finding(shown), inches=WIDTH)
    wide = (97.6 - BETWEEN * (len(shown) - 1)) / len(shown)
    largest = max(1, *(bar.size_bytes for tower in shown for bar in tower.bars))
    for place, tower in enumerate(shown):
        left = 1.2 + place * (wide + BETWEEN)
        sheet.text(left, TOP - 3.6, tower.heading, "body")
        for bar in tower.bars:
            colour = style.SHARED if bar.shared else style.WHO[place]
            share = bar.size_bytes / largest
            _draw_bar(sheet, bar, (left, floor - bar.number * ROW, wide), colour, share)
    key = ["the lowest layer is at the bottom"]
    if any(bar.hidden_bytes for tower in shown for bar in tower.bars):
        key.append("hatched: wasted, a later layer hides it")
    if len(shown) > 1:
        key.append("grey: the same layer in both")
        for bar in shown[0].bars:
            if bar.shared:  # it lies at the same height in both
                left, top = 1.2 + wide, floor - bar.number * ROW
                sheet.box(left, top + 1.6, BETWEEN, 4.0, "none", fill=f"{style.SHARED}3A", pad=0)
                sheet.text(left + BETWEEN / 2, top + 3.6, "same", centre=True)
    sheet.text(1.5, floor + BOTTOM / 2 + 0.4, ";  ".join(key))
    return sheet


def _draw_bar(
    sheet: Page, bar: Bar, place: tuple[float, float, float], colour: str, share: float
) -> None:
    left, top, wide = place
    sheet.box(left, top, wide, 7.2, colour, fill=f"{colour}14", pad=0.5, line=1.4)
    most = int((wide - (13 if bar.cached else 4)) / CHARACTER)
    name = instruction_in_short(f"{bar.number}  {bar.instruction}", most)
    sheet.text(left + 1.4, top + 2.0, name, mono=True)
    length = max(0.35, wide * (0.52 if wide > 60 else 0.38) * share)
    hidden = length * bar.hidden_bytes / max(1, bar.size_bytes)
    begin = left + 1.4
    look: dict[str, Any] = {"colour": colour, "fill": colour, "pad": 0, "line": 1}
    sheet.box(begin, top + 3.7, length, 2.3, **look)
    if hidden:
        look |= {"fill": style.PAPER, "hatched": True}
        sheet.box(begin + length - hidden, top + 3.7, hidden, 2.3, **look)
    sheet.text(left + 2.4 + length, top + 4.9, bar.said, bold=bool(bar.hidden_bytes))
    if bar.cached:
        sheet.text(left + wide - 1.2, top + 2.0, "CACHED", colour=style.HOST, bold=True, right=True)


# --- an image's history: which instruction made a layer, how large, what share that is ------------


_SIZE = re.compile(r"([\d.]+)\s*([kMGT]?B)")


@dataclass(frozen=True)
class Line:
    """An instruction and the bytes it added; `layer` is its layer's number, if it is known to be.

    `None` stands for "none", 0 for "not told": `docker history` does not say which lines of 0 bytes
    made a layer.
    """

    instruction: str
    size_bytes: int
    layer: int | None = 0


@dataclass(frozen=True, repr=False)
class History(Tabled):
    """An image's history, in the order of the Dockerfile; our own label is left out of it.

    So one that somebody else has printed (the lecture's) can be compared with our own.
    """

    name: str
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, name: str, image: Image) -> History:
        """Return an image's history, which tells of each line whether it made a layer."""
        lines = []
        for step in image.history:
            size, number = (step.layer.size_bytes, step.layer.number) if step.layer else (0, None)
            if not is_ours(step.created_by):
                lines.append(Line(instruction(step.created_by), size, number))
        return cls(name, tuple(lines))

    @classmethod
    def printed(cls, name: str, path: str | Path) -> History:
        """Read one from a file: JSON with "history", as `docker history` prints it.

        Raises `LabError`: there is no such list in it, or something that is not a size.
        """
        try:
            rows = json.loads(Path(path).read_text(encoding="utf-8"))["history"]
            lines = [Line(instruction(row["created_by"]), _bytes_of(row["size"])) for row in rows]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            wanted = 'wanted: {"history": [{"created_by": …, "size": …}]}'
            raise LabError(f"{path} holds no history", str(error), wanted) from error
        return cls(name, tuple(reversed(lines)))

    @property
    def size_bytes(self) -> int:
        return sum(line.size_bytes for line in self.lines)

    @property
    def largest(self) -> Line:
        return max(self.lines, key=lambda line: line.size_bytes)

    def share(self, line: Line) -> float:
        """Return the percentage that a line has of all bytes."""
        return 100 * line.size_bytes / max(1, self.size_bytes)

    @property
    def table(self) -> PlainTable:
        share = f"{self.share(self.largest):.0f} %"
        return PlainTable(
            f"{self.name}: {amount(self.size_bytes)}, {share} of it in one layer",
            ("instruction", "layer", "size", "share"),
            tuple(map(self._row, self.lines)),
        )

    def _row(self, line: Line) -> tuple[str, ...]:
        layer = "none" if line.layer is None else str(line.layer or "")
        return line.instruction, layer, amount(line.size_bytes), f"{self.share(line):.1f} %"


def _bytes_of(size: str) -> int:
    """Return the bytes of a size as engines print it, such as 6.66MB; or raise `ValueError`."""
    if not (found := _SIZE.fullmatch(size.strip())):
        raise ValueError(f"{size!r} is not a size")
    return round(float(found[1]) * float(1000 ** UNITS.index(found[2])))
