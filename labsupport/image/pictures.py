"""Pictures of what images are made of: their layers, their histories, their sizes.

In a picture of layers the lowest is at the bottom, as in the stack. A layer that two images share
is grey, and is in both at the same height.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from labsupport.build.build import Build
from labsupport.build.chart import LAYER_MAKERS, instruction, is_ours, keyword
from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import UNITS, amount
from labsupport.image.image import Image
from labsupport.image.layers import Layer

WIDTH = 9.2  # inches
CHARACTER = 1.02  # width of a character in which instructions are written
Table = list[tuple[object, ...]]


def instruction_in_short(text: str, most: int = 60) -> str:
    """Cut an instruction to that many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


# ---- layers: how big each is, what it did, what of it nobody sees any more

WORTH_TELLING = 0.1  # as much waste is the finding, less is not
TOP, ROW, BOTTOM = 12.0, 8.4, 5.2  # on a page 100 units wide
BETWEEN = 7.0  # two images


@dataclass(frozen=True)
class FileChange:
    """A name that a layer adds, changes or deletes.

    `size_bytes` of what is deleted is its size below. `hidden_by` is the number of the next layer
    above that deletes or replaces the name, 0 if none does.
    """

    path: str
    what: str
    size_bytes: int
    hidden_by: int = 0


@dataclass(frozen=True)
class Bar:
    """A layer to be drawn, with what it does.

    `cached` tells whether its build had it from before, if that is known; `shared` whether another
    of the images has it, too.
    """

    number: int
    digest: str
    instruction: str
    size_bytes: int
    files: tuple[FileChange, ...]
    cached: bool | None = None
    shared: bool = False

    @property
    def hidden_bytes(self) -> int:
        """The bytes in this layer that nobody sees, since a later layer hides them."""
        return sum(f.size_bytes for f in self.files if f.hidden_by and f.what != "deleted")

    def count(self, what: str) -> int:
        """How many names it has "added", "changed" or "deleted"."""
        return sum(file.what == what for file in self.files)

    @property
    def said(self) -> str:
        """Its size, and what else is to be said of it."""
        wasted = f", {amount(self.hidden_bytes)} wasted" if self.hidden_bytes else ""
        deleted = self.count("deleted")
        return amount(self.size_bytes) + wasted + (f", deletes {deleted}" if deleted else "")


@dataclass(frozen=True)
class Tower:
    """An image to be drawn: its layers, the lowest first."""

    name: str
    bars: tuple[Bar, ...]
    size_bytes: int
    wasted_bytes: int

    @property
    def heading(self) -> str:
        """The image in a few words."""
        return f"{self.name}: {amount(self.size_bytes)}, {len(self.bars)} layers"


def towers(images: Mapping[str, Image], builds: Mapping[str, Build] | None = None) -> list[Tower]:
    """Take from images what is to be drawn; `builds` are those that made them, as far as known."""
    keys = {name: _keys(image) for name, image in images.items()}
    found = []
    for name, image in images.items():
        build = (builds or {}).get(name)
        cached = _cached(image, build) if build else {}
        elsewhere = {key for other in keys if other != name for key in keys[other]}
        bars = (
            Bar(
                layer.number, layer.diff_id, instruction(layer.created_by), layer.size_bytes,
                tuple(_files(image, layer)), cached.get(layer.number), key in elsewhere,
            )
            for layer, key in zip(image.layers, keys[name], strict=True)
        )  # fmt: skip
        found.append(Tower(name, tuple(bars), image.size_bytes, image.wasted_bytes))
    return found


def _keys(image: Image) -> list[str]:
    """Name each layer by itself and all below it: an engine stores only such layers once."""
    return list(accumulate((layer.diff_id for layer in image.layers), "{} {}".format))


def _files(image: Image, layer: Layer) -> Iterator[FileChange]:
    for what, paths in (("added", layer.added), ("changed", layer.changed)):
        for path in paths:
            by = image.hidden.get((layer.number, path), 0)
            yield FileChange(path, what, layer.files[path].size_bytes, by)
    for path in layer.deleted:
        yield FileChange(path, "deleted", layer.gone[path].size_bytes)


def _cached(image: Image, build: Build) -> dict[int, bool]:
    """Tell for layers, by number, whether the build had them cached.

    A build's steps are the last of the image's history; both are recognised by their first words,
    since builders write the rest in their own ways and leave some steps out.
    """
    steps = [s for s in build.steps if s.instruction.split(" ")[0].upper() in LAYER_MAKERS]
    lines = [line for line in image.history if keyword(line.created_by) in LAYER_MAKERS]
    pairs = zip(reversed(steps), reversed(lines), strict=False)
    return {line.layer.number: step.cached for step, line in pairs if line.layer}


def layers_finding(shown: Sequence[Tower]) -> str:
    """Say in one line what the picture shows."""
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


def layers_words(shown: Sequence[Tower]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{layers_finding(shown)}."]
    for tower in shown:
        layers = "; ".join(_sentence(bar) for bar in tower.bars)
        parts.append(
            f"{tower.name}: {amount(tower.size_bytes)} in {len(tower.bars)} layers, "
            f"{amount(tower.wasted_bytes)} wasted. From the lowest: {layers}."
        )
    return " ".join(parts)


def _sentence(bar: Bar) -> str:
    marks = "".join(f", {mark}" for mark in _marks(bar))
    return f"{bar.number} {instruction_in_short(bar.instruction)}, {bar.said}{marks}"


def _marks(bar: Bar) -> list[str]:
    return ["shared"] * bar.shared + ["CACHED"] * bool(bar.cached)


def layers_table(shown: Sequence[Tower]) -> Table:
    """The same as rows, each image from its uppermost layer down."""
    head = ("image", "layer", "instruction", "size", "wasted", "added", "changed", "deleted", "")
    return [head, *(_row(tower, bar) for tower in shown for bar in reversed(tower.bars))]


def _row(tower: Tower, bar: Bar) -> tuple[object, ...]:
    counts = (bar.count(what) for what in ("added", "changed", "deleted"))
    name = instruction_in_short(bar.instruction, 120)
    sizes = amount(bar.size_bytes), amount(bar.hidden_bytes)
    return tower.name, bar.number, name, *sizes, *counts, ", ".join(_marks(bar))


def layers_page(shown: Sequence[Tower]) -> Page:
    """Draw the layers of one image, or of two."""
    floor = TOP + max(len(tower.bars) for tower in shown) * ROW
    sheet = Page(floor + BOTTOM, layers_finding(shown), inches=WIDTH)
    wide = (97.6 - BETWEEN * (len(shown) - 1)) / len(shown)
    largest = max(1, *(bar.size_bytes for tower in shown for bar in tower.bars))
    for place, tower in enumerate(shown):
        left = 1.2 + place * (wide + BETWEEN)
        sheet.text(left, TOP - 3.6, tower.heading, "body")
        for bar in tower.bars:
            colour = style.SHARED if bar.shared else style.WHO[place]
            share = bar.size_bytes / largest
            _draw_bar(sheet, bar, (left, floor - bar.number * ROW, wide), colour, share)
    if len(shown) > 1:
        _join(sheet, [bar for bar in shown[0].bars if bar.shared], 1.2 + wide, floor)
    sheet.text(1.5, floor + BOTTOM / 2 + 0.4, _key(shown))
    return sheet


def _key(shown: Sequence[Tower]) -> str:
    words = ["the lowest layer is at the bottom"]
    if any(bar.hidden_bytes for tower in shown for bar in tower.bars):
        words.append("hatched: wasted, a later layer hides it")
    if len(shown) > 1:
        words.append("grey: the same layer in both")
    return ";  ".join(words)


def _draw_bar(
    sheet: Page, bar: Bar, place: tuple[float, float, float], colour: str, share: float
) -> None:
    left, top, wide = place
    sheet.box(left, top, wide, 7.2, colour, fill=f"{colour}14", pad=0.5, linewidth=1.4)
    most = int((wide - (13 if bar.cached else 4)) / CHARACTER)
    name = instruction_in_short(f"{bar.number}  {bar.instruction}", most)
    sheet.text(left + 1.4, top + 2.0, name, mono=True)
    length = max(0.35, wide * (0.52 if wide > 60 else 0.38) * share)
    hidden = length * bar.hidden_bytes / max(1, bar.size_bytes)
    begin = left + 1.4
    look: dict[str, Any] = {"colour": colour, "fill": colour, "pad": 0, "linewidth": 1}
    sheet.box(begin, top + 3.7, length, 2.3, **look)
    if hidden:
        look |= {"fill": style.PAPER, "hatch": "////"}
        sheet.box(begin + length - hidden, top + 3.7, hidden, 2.3, **look)
    sheet.text(left + 2.4 + length, top + 4.9, bar.said, bold=bool(bar.hidden_bytes))
    if bar.cached:
        sheet.text(left + wide - 1.2, top + 2.0, "CACHED", colour=style.HOST, bold=True, ha="right")


def _join(sheet: Page, shared: Iterable[Bar], left: float, floor: float) -> None:
    """Join what both images have: the same layers lie at the same height, on the same ones."""
    for bar in shared:
        top = floor - bar.number * ROW
        sheet.box(left, top + 1.6, BETWEEN, 4.0, "none", fill=f"{style.SHARED}3A", pad=0)
        sheet.text(left + BETWEEN / 2, top + 3.6, "same", centre=True)


# ---- histories: which instruction made a layer, how large, and what share that is

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


@dataclass(frozen=True)
class History:
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
        except (KeyError, TypeError, ValueError) as error:
            wanted = 'wanted: {"history": [{"created_by": …, "size": …}]}'
            raise LabError(f"{path} holds no history", str(error), wanted) from error
        return cls(name, tuple(reversed(lines)))

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(line.size_bytes for line in self.lines)

    @property
    def largest(self) -> Line:
        """The line that added most."""
        return max(self.lines, key=lambda line: line.size_bytes)

    @property
    def sized(self) -> list[Line]:
        """The lines that added bytes."""
        return [line for line in self.lines if line.size_bytes]

    def share(self, line: Line) -> float:
        """Return the percentage that a line has of all bytes."""
        return 100 * line.size_bytes / max(1, self.size_bytes)

    def show(self) -> None:
        """Show which instructions made layers."""
        made_page(self).show(made_words(self), history_table([self]))

    def show_beside(self, *others: History) -> None:
        """Show each instruction's part of its image, the histories side by side."""
        shown = (self, *others)
        shares_page(shown).show(shares_words(shown), history_table(shown))


def _bytes_of(size: str) -> int:
    """Return the bytes of a size as engines print it, such as 6.66MB; or raise `ValueError`."""
    if not (found := _SIZE.fullmatch(size.strip())):
        raise ValueError(f"{size!r} is not a size")
    return round(float(found[1]) * float(1000 ** UNITS.index(found[2])))


def history_table(shown: Sequence[History]) -> Table:
    """All instructions as rows, in the order of the Dockerfile."""
    head = ("image", "instruction", "size", "share", "layer")
    return [head, *(_line(history, line) for history in shown for line in history.lines)]


def _line(history: History, line: Line) -> tuple[object, ...]:
    layer = "none" if line.layer is None else str(line.layer or "")
    share = f"{history.share(line):.1f} %"
    return history.name, line.instruction, amount(line.size_bytes), share, layer


def shares_finding(shown: Sequence[History]) -> str:
    """Say in one line what the picture shows."""
    shares = [f"{history.share(history.largest):.0f} % ({history.name})" for history in shown]
    return f"The largest layer has {' and '.join(shares)}"


def shares_words(shown: Sequence[History]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{shares_finding(shown)}."]
    for history in shown:
        lines = "; ".join(
            f"{instruction_in_short(line.instruction)}: {amount(line.size_bytes)}, "
            f"{history.share(line):.1f} %"
            for line in history.sized
        )
        parts.append(f"{history.name}: {lines}; {_nothing(history)}.")
    return " ".join(parts)


def _nothing(history: History) -> str:
    return f"and {len(history.lines) - len(history.sized)} instructions of 0 bytes"


def shares_page(shown: Sequence[History]) -> Page:
    """Draw each instruction's part of its image, the newest at the top."""
    high = 16.7 + max(len(history.sized) for history in shown) * 7.0
    sheet = Page(high, shares_finding(shown), inches=WIDTH)
    wide = 98.0 / len(shown)
    for place, history in enumerate(shown):
        left = 1.5 + place * wide
        sheet.text(left, 9.0, f"{history.name}: {amount(history.size_bytes)}", "body")
        for number, line in enumerate(history.sized, 1):
            colour = (style.SHARED, style.FIRST)[place % 2]
            _draw_share(sheet, history, line, (left, high - 5.2 - number * 7.0, wide - 2.5), colour)
        sheet.text(left, high - 2.4, _nothing(history))
    return sheet


def _draw_share(
    sheet: Page, history: History, line: Line, place: tuple[float, float, float], colour: str
) -> None:
    left, top, wide = place
    is_largest = line is history.largest
    name = instruction_in_short(line.instruction, int(wide / CHARACTER))
    sheet.text(left, top + 1.6, name, mono=True)
    length = max(0.3, wide * 0.6 * history.share(line) / 100)
    edge = 1.4 if is_largest else 0
    sheet.box(left, top + 3.1, length, 2.3, fill=colour, pad=0, linewidth=edge)
    said = f"{amount(line.size_bytes)}, {history.share(line):.0f} %"
    sheet.text(left + length + 1, top + 4.3, said, bold=is_largest)


def made_finding(history: History) -> str:
    """Say in one line how many instructions made how many layers."""
    layers = sum(line.layer is not None for line in history.lines)
    return f"{len(history.lines)} instructions made {layers} layers"


def made_words(history: History) -> str:
    """Say all of it: the picture's text alternative."""
    said = "; ".join(
        f"{instruction_in_short(line.instruction)}: "
        + ("no layer" if line.layer is None else f"layer {line.layer}, {amount(line.size_bytes)}")
        for line in history.lines
    )
    return f"{made_finding(history)}. {said}."


def made_page(history: History) -> Page:
    """Draw instructions on the left and their layers on the right, as in the Dockerfile."""
    sheet = Page(9.4 + len(history.lines) * 4.4, made_finding(history), inches=WIDTH)
    for number, line in enumerate(history.lines):
        middle = 9.4 + number * 4.4
        ink = style.INK if line.layer else style.QUIET
        sheet.text(2, middle, instruction_in_short(line.instruction, 62), colour=ink, mono=True)
        if line.layer is None:
            words = "no layer: settings only"
            sheet.text(74, middle, words, colour=style.QUIET, style="italic")
            continue
        sheet.line((65.5, middle), (72, middle), colour=style.FIRST)
        sheet.box(72.1, middle - 1.7, 25.8, 3.4, style.FIRST, fill=f"{style.FIRST}33", pad=0.4)
        sheet.text(74, middle, f"layer {line.layer}, {amount(line.size_bytes)}", bold=True)
    return sheet
