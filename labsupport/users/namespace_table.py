"""The eight kinds of namespaces for several processes, side by side: who shares what.

A column is a process (or a container). The same number is the same namespace: it is drawn in the
colour of the first column that has it, grey if that is this notebook. A bar ties all that have it:
the first namespace's runs below the boxes, another's above them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.kernel.procfs import KINDS, Box, namespaces
from labsupport.users.namespaces import pid_of

INCHES = 9.6
KIND_WIDTH = 31.0  # of the column of kinds
TOP = 18.2  # where the first row begins
HIGH, GAP = 5.4, 2.6  # of a chip, and between two


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


def tied(row: Sequence[Cell | None]) -> list[int]:
    """The columns that others share a namespace with, neighbours or not, each where it is first."""
    firsts = [cell.first for cell in row if cell is not None]
    return sorted({first for first in firsts if firsts.count(first) > 1})


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
    for index, column in enumerate(columns[1:], 1):
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


def page(columns: Sequence[Column]) -> Page:
    """Draw a row for each kind, a column for each process."""
    sheet = Page(TOP + len(KINDS) * (HIGH + GAP) + 0.5, finding(columns), inches=INCHES)
    sheet.text(1.2, 8.2, "One number is one namespace; a bar ties it. Grey: this notebook's, too.")
    wide = (100 - KIND_WIDTH - 1) / len(columns)
    for index, column in enumerate(columns):
        left, label = KIND_WIDTH + index * wide, textwrap.fill(column.label, int(wide * 0.8))
        sheet.text(left + wide / 2, TOP - 3.2, label, "body", bold=True, centre=True, va="bottom")
        under = ((left + 1, TOP - 2.4), (left + wide - 1, TOP - 2.4))
        sheet.line(*under, colour=_colour(index), linewidth=3)
    for row, kind in enumerate(KINDS.values()):
        middle = TOP + row * (HIGH + GAP) + HIGH / 2
        sheet.text(1.2, middle - 1.1, kind.name, "body", bold=True)
        sheet.text(1.2, middle + 1.7, kind.isolates)
        _draw_row(sheet, cells(columns, kind.name), wide, middle)
    return sheet


def _draw_row(sheet: Page, row: Sequence[Cell | None], wide: float, middle: float) -> None:
    for index, cell in enumerate(row):
        _draw_cell(sheet, KIND_WIDTH + index * wide, wide, middle, cell, index)
    for place, first in enumerate(tied(row)):
        way = -1 if place % 2 else 1
        edge, bar = middle + way * HIGH / 2, middle + way * (HIGH / 2 + GAP * 0.3)
        feet = [
            KIND_WIDTH + (at + 0.5) * wide for at, c in enumerate(row) if c and c.first == first
        ]
        look: dict[str, Any] = {"colour": _fill(first), "linewidth": 3}
        sheet.line((feet[0], bar), (feet[-1], bar), **look)
        for foot in feet:
            sheet.line((foot, edge), (foot, bar), **look)


def _draw_cell(
    sheet: Page, left: float, wide: float, middle: float, cell: Cell | None, index: int
) -> None:
    box, centre = (left + 1, middle - HIGH / 2, wide - 2, HIGH), left + wide / 2
    if cell is None:
        sheet.box(*box, style.SHARED, linewidth=1, linestyle="dotted")
        sheet.text(centre, middle, "not in this kernel", centre=True, style="italic")
        return
    colour, new = _fill(cell.first), cell.first == index > 0
    tint = f"{colour}{'73' if new else '40'}"
    sheet.box(*box, colour, fill=tint, linewidth=2.2 if new else 1, zorder=2)
    sheet.text(centre, middle, str(cell.inode), "body", bold=new, centre=True, zorder=3)


def _colour(index: int) -> str:
    return style.WHO[(index - 1) % len(style.WHO)] if index else style.HOST


def _fill(first: int) -> str:
    return _colour(first) if first else style.SHARED


class NamespaceTable:
    """The eight kinds for some processes: `NamespaceTable({"sandbox": box, "other": 4711})`.

    The first column is this notebook. The others are sandboxes or PIDs, read now, or what was read
    of a process by other ways, as {kind: inode number}. None stands for what is not here: such a
    column is left out.

    Raises `ProcessGone`: a process has ended, or is not ours to read.
    """

    def __init__(self, others: Mapping[str, Box | int | Mapping[str, int] | None]) -> None:
        present = {name: who for name, who in others.items() if who is not None}
        read = {"this notebook": namespaces()} | {k: _read(who) for k, who in present.items()}
        self.columns = [Column(label, inodes) for label, inodes in read.items()]

    def own(self, label: str) -> set[str]:
        """The kinds of which this column has a namespace that none before it has."""
        labels = [column.label for column in self.columns]
        return set(own(self.columns, labels.index(label)))

    def draw(self) -> None:
        """Show the table."""
        page(self.columns).show(words(self.columns), table(self.columns))


def _read(who: Box | int | Mapping[str, int]) -> Mapping[str, int]:
    return who if isinstance(who, Mapping) else namespaces(pid_of(who))
