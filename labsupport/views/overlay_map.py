"""Layers as shelves, seen from above: which name is on which, and what of it is to be seen.

A column is a name, a row a layer, the uppermost first. From the top row a line goes down to where
the file really lies. Grey layers are read-only (and may be shared), the orange one is writable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.layer_folders import Entry, Stack
from labsupport.views import style
from labsupport.views.amounts import amount

WIDTH = 9.2  # inches
LEFT, TOP, BOTTOM = 19.0, 13.0, 5.0  # on a page 100 units wide
ROW, GAP = 7.4, 1.6
KEY = (
    "filled: seen;  outlined: hidden by what lies above;  in red: a mark that hides what lies below"
)
MARKS = {"whiteout": "deleted", "opaque": "opaque"}


@dataclass(frozen=True)
class Cell:
    """What a layer has under a name: its words, and whether that is what is to be seen."""

    words: str
    seen: bool
    is_mark: bool = False


@dataclass(frozen=True)
class Row:
    """A layer, and what it has for each column; `merged` tells the top row from the others."""

    label: str
    detail: str
    colour: str
    cells: tuple[Cell | None, ...]
    merged: bool = False


def rows(stack: Stack, paths: Sequence[str], names: dict[str, str] | None = None) -> list[Row]:
    """Return the rows for these names; `names` are other words for layers."""
    lies = {path: stack.lies_in(path) for path in paths}
    merged = tuple(_seen(stack.merged.entries.get(path)) for path in paths)
    found = [Row(stack.merged.name, "what is seen", style.INK, merged, merged=True)]
    for layer in stack:
        cells = tuple(_cell(layer.entries.get(path), lies[path] == layer.name) for path in paths)
        label = (names or {}).get(layer.name, layer.name)
        mode = "writable" if layer.writable else "read-only"
        colour = style.FIRST if layer.writable else style.SHARED
        found.append(Row(label, f"{mode}, {amount(layer.size_bytes)}", colour, cells))
    return found


def _seen(entry: Entry | None) -> Cell | None:
    return Cell(_words(entry), seen=True) if entry else None


def _cell(entry: Entry | None, seen: bool) -> Cell | None:
    return Cell(_words(entry), seen, entry.kind in MARKS) if entry else None


def _words(entry: Entry) -> str:
    return amount(entry.size_bytes) if entry.kind == "file" else MARKS.get(entry.kind, entry.kind)


def finding(stack: Stack, paths: Sequence[str], names: dict[str, str] | None = None) -> str:
    """Say in one line what the picture shows."""
    lies = [stack.lies_in(path) for path in paths]
    parts = [
        f"{lies.count(layer.name)} in {(names or {}).get(layer.name, layer.name)}"
        for layer in stack
        if layer.name in lies
    ]
    seen = len(paths) - lies.count(None)
    files = "1 name is" if seen == 1 else f"{seen} names are"
    hidden = f"; {lies.count(None)} hidden" if None in lies else ""
    return f"{files} seen: {', '.join(parts)}{hidden}" if parts else f"No name is seen{hidden}"


def words(stack: Stack, paths: Sequence[str], names: dict[str, str] | None = None) -> str:
    """Say all of it: the picture's text alternative."""
    return " ".join([f"{finding(stack, paths, names)}.", *_sentences(stack, paths, names or {})])


def _sentences(stack: Stack, paths: Sequence[str], names: dict[str, str]) -> Iterator[str]:
    for path in paths:
        where = stack.lies_in(path)
        held = [(layer.name, layer.entries[path]) for layer in stack if path in layer.entries]
        others = [
            f"{names.get(name, name)} has {_words(entry)}" for name, entry in held if name != where
        ]
        also = f" ({'; '.join(others)})" if others else ""
        lies = f"lies in {names.get(where, where)}" if where else "not to be seen"
        yield f"{path}: {lies}{also}."


def table(
    stack: Stack, paths: Sequence[str], names: dict[str, str] | None = None
) -> list[tuple[object, ...]]:
    """The same as rows: a name, where it lies, and what each layer has."""
    shown = rows(stack, paths, names)
    head = ("name", "lies in", *(row.label for row in shown[1:]))
    lines = [
        (path, _named(stack.lies_in(path), names), *(_text(row.cells[at]) for row in shown[1:]))
        for at, path in enumerate(paths)
    ]
    return [head, *lines]


def _named(layer: str | None, names: dict[str, str] | None) -> str:
    return (names or {}).get(layer, layer) if layer else ""


def _text(cell: Cell | None) -> str:
    return "" if cell is None else cell.words


def needed_height(shown: Sequence[Row]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + len(shown) * (ROW + GAP) + BOTTOM


def draw_overlay(axes: Axes, shown: Sequence[Row], paths: Sequence[str], title: str) -> None:
    """Draw the rows into `axes`, which fills its figure."""
    high = needed_height(shown)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.5, 3, title, size=style.size("title"), weight="bold", va="center")
    wide = (99 - LEFT) / len(paths)
    for at, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        middle = LEFT + (at + 0.5) * wide
        axes.text(middle, TOP - 2.2, name, size=style.size("small"), ha="center", va="baseline",
                  weight="bold")  # fmt: skip
        if folder:
            axes.text(middle, TOP - 4.6, f"{folder}/", size=style.size("small"), ha="center",
                      va="baseline")  # fmt: skip
        _draw_line_of_sight(axes, shown, at, middle)
    for number, row in enumerate(shown):
        _draw_shelf(axes, row, _top(number), wide)
    axes.text(LEFT, high - BOTTOM / 2 + 0.6, KEY, size=style.size("small"), va="center")


def _top(number: int) -> float:
    return TOP + number * (ROW + GAP)


def _draw_line_of_sight(axes: Axes, shown: Sequence[Row], at: int, middle: float) -> None:
    """From the top row down to the layer that the file is in."""
    for number, row in enumerate(shown):
        cell = row.cells[at]
        if cell and cell.seen and not row.merged:
            axes.plot([middle] * 2, [_top(0) + ROW - 1.2, _top(number) + 1.2], color=row.colour,
                      linewidth=2.2, zorder=2, linestyle=(0, (1, 1.2)))  # fmt: skip


def _draw_shelf(axes: Axes, row: Row, top: float, wide: float) -> None:
    face = style.PAPER if row.merged else row.colour + "1C"
    _box(axes, (0.8, top, 98.4, ROW), face, row.colour, 1.4, zorder=1)
    middle = top + ROW / 2
    axes.text(2.2, middle - 1.3, row.label, size=style.size("body"), weight="bold", va="center",
              zorder=4)  # fmt: skip
    axes.text(2.2, middle + 1.5, row.detail, size=style.size("small"), va="center", zorder=4)
    for at, cell in enumerate(row.cells):
        if cell:
            _draw_cell(axes, cell, row, (LEFT + at * wide + 0.7, top + 1.2, wide - 1.4, ROW - 2.4))


def _draw_cell(axes: Axes, cell: Cell, row: Row, box: tuple[float, float, float, float]) -> None:
    left, top, width, height = box
    edge = style.KERNEL if cell.is_mark else row.colour
    face = edge + ("66" if cell.seen and not row.merged else "00")
    face = style.PAPER if row.merged or not cell.seen else face
    _box(
        axes, box, face, edge, 2.0, zorder=3, line="-" if cell.seen or cell.is_mark else (0, (3, 2))
    )
    axes.text(left + width / 2, top + height / 2,
              f"✕ {cell.words}" if cell.words == "deleted" else cell.words,
              size=style.size("small"), ha="center", va="center", zorder=4,
              weight="bold" if cell.seen or cell.is_mark else "normal",
              color=style.KERNEL if cell.is_mark and not cell.seen else style.INK)  # fmt: skip


def _box(
    axes: Axes, box: tuple[float, float, float, float], face: str, edge: str, width: float, *,
    zorder: float, line: object = "-",
) -> None:  # fmt: skip
    left, top, wide, high = box
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.5, top + 0.5), wide - 1, high - 1, boxstyle="round,pad=0.5", facecolor=face,
            edgecolor=edge, linewidth=width, linestyle=line, zorder=zorder,
        )
    )  # fmt: skip


def show_overlay(
    stack: Stack, paths: Sequence[str] | None = None, names: dict[str, str] | None = None,
    title: str = "",
) -> None:  # fmt: skip
    """Show where each name of a stack of layers lies, by default every name but plain folders."""
    chosen = stack.paths() if paths is None else list(paths)
    shown = rows(stack, chosen, names)
    figure = style.new_figure(WIDTH, WIDTH * needed_height(shown) / 100)
    draw_overlay(
        figure.add_axes((0, 0, 1, 1)), shown, chosen, title or finding(stack, chosen, names)
    )
    style.show(figure, words(stack, chosen, names), table(stack, chosen, names))
