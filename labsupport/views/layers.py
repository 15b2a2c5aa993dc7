"""An image's layers as bars: how big each is, what it did, what of it nobody sees any more.

The lowest layer is at the bottom, as in the stack and as `docker history` lists them. Two images
side by side: a layer that both have is grey and stands in both at the same height.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from labsupport.engine.builds import Build
from labsupport.engine.image.entries import Layer
from labsupport.engine.images import Image
from labsupport.views.amounts import amount
from labsupport.views.instructions import LAYER_MAKERS, instruction, keyword

WORTH_TELLING = 0.1  # as much waste is the finding, less is not


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

    `key` tells it from others by its content and all that lies below, as an engine's store does.
    `cached` tells whether its build had it from before, if that is known; `shared` whether another
    of the images beside it has it, too.
    """

    number: int
    key: str
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
        found = [amount(self.size_bytes)]
        found += [f"{amount(self.hidden_bytes)} wasted"] if self.hidden_bytes else []
        deleted = self.count("deleted")
        return ", ".join([*found, f"deletes {deleted}"] if deleted else found)


@dataclass(frozen=True)
class Tower:
    """An image to be drawn: its layers, the lowest first, and what can be said of all of it."""

    name: str
    bars: tuple[Bar, ...]
    size_bytes: int
    wasted_bytes: int
    efficiency: float


def towers(images: Mapping[str, Image], builds: Mapping[str, Build] | None = None) -> list[Tower]:
    """Take from images what is to be drawn; `builds` are those that made them, as far as known."""
    keys = {name: _keys(image) for name, image in images.items()}
    found = []
    for name, image in images.items():
        others = set().union(*(keys[other] for other in images if other != name))
        cached = _cached(image, (builds or {}).get(name))
        hidden = _hidden(image)
        bars = tuple(
            Bar(
                number=layer.number, key=key, digest=layer.diff_id,
                instruction=instruction(layer.created_by), size_bytes=layer.size_bytes,
                files=tuple(_files(image, layer, hidden)), cached=cached.get(layer.number),
                shared=key in others,
            )
            for layer, key in zip(image.layers, keys[name], strict=True)
        )  # fmt: skip
        found.append(Tower(name, bars, image.size_bytes, image.wasted_bytes, image.efficiency))
    return found


def _keys(image: Image) -> list[str]:
    """Name each layer by itself and all below it: only such layers are stored once."""
    return list(accumulate((layer.diff_id for layer in image.layers), "{} {}".format))


def _hidden(image: Image) -> dict[tuple[int, str], int]:
    """Tell for each file that cannot be seen, by its layer's number and path, who hides it."""
    found: dict[tuple[int, str], int] = {}
    uppermost: dict[str, int] = {}
    for layer in image.layers:
        for path in (*layer.changed, *layer.deleted):
            if path in uppermost:
                found[uppermost.pop(path), path] = layer.number
        uppermost.update(dict.fromkeys(layer.files, layer.number))
    return found


def _files(
    image: Image, layer: Layer, hidden: Mapping[tuple[int, str], int]
) -> Iterator[FileChange]:
    for what, paths in (("added", layer.added), ("changed", layer.changed)):
        for path in paths:
            by = hidden.get((layer.number, path), 0)
            yield FileChange(path, what, layer.files[path].size_bytes, by)
    sizes = {path: number for (number, path), by in hidden.items() if by == layer.number}
    for path in layer.deleted:
        below = image.layers[sizes[path] - 1].files[path] if path in sizes else None
        yield FileChange(path, "deleted", below.size_bytes if below else 0)


def _cached(image: Image, build: Build | None) -> dict[int, bool]:
    """Tell for layers, by number, whether the build had them cached.

    A build's steps are the last of the image's history; both are told by their first words, since
    builders write the rest in their own ways and leave some steps out.
    """
    if build is None:
        return {}
    steps = [s for s in build.steps if s.instruction.split(" ")[0].upper() in LAYER_MAKERS]
    lines = [line for line in image.history if keyword(line.created_by) in LAYER_MAKERS]
    pairs = zip(reversed(steps), reversed(lines), strict=False)
    return {line.layer.number: step.cached for step, line in pairs if line.layer}


def finding(shown: Sequence[Tower]) -> str:
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


def words(shown: Sequence[Tower]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(shown)}."]
    for tower in shown:
        layers = "; ".join(_sentence(bar) for bar in tower.bars)
        parts.append(
            f"{tower.name}: {amount(tower.size_bytes)} in {len(tower.bars)} layers, "
            f"{amount(tower.wasted_bytes)} wasted. From the lowest: {layers}."
        )
    return " ".join(parts)


def _sentence(bar: Bar) -> str:
    more = (", shared" if bar.shared else "") + (", CACHED" if bar.cached else "")
    return f"{bar.number} {instruction_in_short(bar.instruction)}, {bar.said}{more}"


def instruction_in_short(text: str, most: int = 60) -> str:
    """Cut an instruction to so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def table(shown: Sequence[Tower]) -> list[tuple[object, ...]]:
    """The same as rows, each image from its uppermost layer down."""
    head = ("image", "layer", "instruction", "size", "wasted", "added", "changed", "deleted", "")
    return [head, *(_row(tower, bar) for tower in shown for bar in reversed(tower.bars))]


def _row(tower: Tower, bar: Bar) -> tuple[object, ...]:
    marks = [word for word, is_so in (("shared", bar.shared), ("CACHED", bar.cached)) if is_so]
    counts = (bar.count(what) for what in ("added", "changed", "deleted"))
    name = instruction_in_short(bar.instruction, 120)
    sizes = amount(bar.size_bytes), amount(bar.hidden_bytes)
    return tower.name, bar.number, name, *sizes, *counts, ", ".join(marks)
