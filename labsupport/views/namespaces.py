"""The eight kinds as rows, processes as columns: what is shared, and what is whose own.

A column is a process (or a container). The same number is the same namespace: it is drawn in the
colour of the first column that has it, grey if that is the host; a bar ties equal neighbours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.kinds import KINDS
from labsupport.views import style

KIND_WIDTH = 31.0  # of the column of kinds, on a page 100 units wide
TOP = 17.0  # where the first row begins
HIGH, GAP = 5.6, 1.5  # of a chip, and between two


@dataclass(frozen=True)
class Column:
    """A process: what we call it, and {kind: inode number} as /proc/PID/ns has it."""

    label: str
    inodes: Mapping[str, int]


@dataclass(frozen=True)
class Cell:
    """A namespace at a place in the table; `first` is the column that had it before, or its own."""

    inode: int
    first: int


def cells(columns: Sequence[Column], kind: str) -> list[Cell | None]:
    """One row of the table; None where the kernel has no such namespace."""
    numbers = [column.inodes.get(kind) for column in columns]
    return [None if number is None else Cell(number, numbers.index(number)) for number in numbers]


def own(columns: Sequence[Column], index: int) -> list[str]:
    """The kinds of which a column has a namespace that no column before it has."""
    found = ((kind, cells(columns, kind)[index]) for kind in KINDS)
    return [kind for kind, cell in found if cell is not None and cell.first == index]


def finding(columns: Sequence[Column]) -> str:
    """Say in one line what the picture shows."""
    known = sum(kind in columns[0].inodes for kind in KINDS)
    counts = [f"{each.label} {len(own(columns, n))}" for n, each in enumerate(columns) if n]
    if not counts:
        return f"{columns[0].label}: one namespace of each of {known} kinds"
    return f"Own namespaces, of {known} kinds here: {', '.join(counts)}"


def words(columns: Sequence[Column]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(columns)}."]
    for index, column in enumerate(columns):
        if index:
            mine = own(columns, index)
            shared = [kind for kind in KINDS if kind in column.inodes and kind not in mine]
            parts.append(
                f"{column.label} has its own {', '.join(mine) or 'nothing'} "
                f"and shares {', '.join(shared) or 'nothing'}."
            )
    return " ".join(parts)


def table(columns: Sequence[Column]) -> list[tuple[object, ...]]:
    """The same as rows: the kind, what it isolates, and each column's number."""
    head = ("kind", "isolates", *(column.label for column in columns))
    return [head] + [
        (kind.name, kind.isolates, *(c.inodes.get(kind.name, "not here") for c in columns))
        for kind in KINDS.values()
    ]


def needed_height() -> float:
    """How high a page, 100 units wide, the table needs."""
    return TOP + len(KINDS) * (HIGH + GAP) + 0.5


def draw_namespaces(axes: Axes, columns: Sequence[Column]) -> None:
    """Draw the table into `axes`, which fills its figure."""
    axes.set(xlim=(0, 100), ylim=(needed_height(), 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.4, finding(columns), size=style.size("title"), weight="bold", va="center")
    axes.text(1.2, 8.2, "The same number is the same namespace. Grey: shared with this notebook.",
              size=style.size("small"), va="center")  # fmt: skip
    width = (100 - KIND_WIDTH - 1) / len(columns)
    lefts = [KIND_WIDTH + index * width for index in range(len(columns))]
    for index, (column, left) in enumerate(zip(columns, lefts, strict=True)):
        label = textwrap.fill(column.label, int(width * 0.8))
        axes.text(
            left + width / 2, TOP - 2.0, label, size=style.size("body"), weight="bold",
            ha="center", va="bottom",
        )  # fmt: skip
        axes.plot([left + 1, left + width - 1], [TOP - 1.2] * 2, color=_colour(index), lw=3)
    for row, kind in enumerate(KINDS.values()):
        middle = TOP + row * (HIGH + GAP) + HIGH / 2
        axes.text(1.2, middle - 1.1, kind.name, size=style.size("body"), weight="bold", va="center")
        axes.text(1.2, middle + 1.7, kind.isolates, size=style.size("small"), va="center")
        _draw_row(axes, cells(columns, kind.name), lefts, width, middle)


def _draw_row(
    axes: Axes, row: Sequence[Cell | None], lefts: Sequence[float], width: float, middle: float
) -> None:
    for index, cell in enumerate(row):
        if index and cell is not None and row[index - 1] == cell:
            at = [lefts[index] - 2, lefts[index] + 2]
            axes.plot(at, [middle] * 2, color=_fill(cell.first), lw=5, zorder=1)
    for index, cell in enumerate(row):
        box = (lefts[index] + 1, middle - HIGH / 2, width - 2, HIGH)
        _draw_cell(axes, box, cell, index)


def _draw_cell(
    axes: Axes, box: tuple[float, float, float, float], cell: Cell | None, index: int
) -> None:
    left, top, wide, high = box
    colour = style.SHARED if cell is None else _fill(cell.first)
    new = cell is not None and cell.first == index and index > 0
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.6, top + 0.6), wide - 1.2, high - 1.2, boxstyle="round,pad=0.6", zorder=2,
            facecolor=_mixed(colour, 0.45 if new else 0.25 if cell else 0), edgecolor=colour,
            linewidth=2.2 if new else 1.0, linestyle="solid" if cell else "dotted",
        )
    )  # fmt: skip
    axes.text(
        left + wide / 2, top + high / 2, "not in this kernel" if cell is None else str(cell.inode),
        size=style.size("small" if cell is None else "body"), ha="center", va="center",
        weight="bold" if new else "normal", style="normal" if cell else "italic", zorder=3,
        color=style.INK,
    )  # fmt: skip


def _colour(index: int) -> str:
    return style.WHO[(index - 1) % len(style.WHO)] if index else style.HOST


def _fill(first: int) -> str:
    return _colour(first) if first else style.SHARED


def _mixed(colour: str, share: float) -> str:
    """The colour on paper, opaque, so that no line shines through."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)
