"""The mount map: mount tables side by side, one column a namespace, one row a mount point.

Grey is a file system that another of the tables has, too; in colour is what only one of them has.
All of it is as /proc/PID/mountinfo has it: a file system is known by its number, major:minor.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.kernel.mounts import Mount, MountTable, mounts
from labsupport.kernel.procfs import named_boxes
from labsupport.sandbox.sandbox import Sandbox

WIDTH = 9.2  # inches
POINTS = 19.0  # width of the column of mount points, on a page 100 units wide
HIGH, GAP = 5.6, 0.8  # of a chip, and between two
TOP = 12.6  # where the first row begins
COURSE = str(Path(__file__).parents[2])  # a mount point in the Lab VM, whose path is not shown
NOTE = "in colour, bold: only in this table;  grey: another table has it, too;  7:0: its number"


@dataclass(frozen=True)
class Column:
    """A mount namespace: what we call it, its colour, its table."""

    label: str
    colour: str
    table: MountTable


@dataclass(frozen=True)
class Cell:
    """What a table has at a point: a name, a line below it, and whether others have it too."""

    name: str
    detail: str
    shared: bool


@dataclass(frozen=True)
class Row:
    """A mount point (or several that are alike), and what each table has there, if anything."""

    label: str
    cells: tuple[Cell | None, ...]

    def own(self, columns: Sequence[Column]) -> Iterator[tuple[Cell, Column]]:
        """What is in one table only, and in which."""
        for cell, column in zip(self.cells, columns, strict=True):
            if cell and not cell.shared:
                yield cell, column


def all_rows(columns: Sequence[Column]) -> dict[str, Row]:
    """Set the tables side by side: {point: row}."""
    visible = [column.table.visible() for column in columns]
    owners = [{mount.device for mount in column.table} for column in columns]
    return {
        point: Row(
            _name(point),
            tuple(_cell(table.get(point), at, owners) for at, table in enumerate(visible)),
        )
        for point in sorted({"/"}.union(*visible))
    }


def few_rows(columns: Sequence[Column]) -> list[Row]:
    """As `all_rows`, but first what the picture is for, then `/`, then all the rest as one row."""
    rows = all_rows(columns)
    first = [row for row in rows.values() if _is_the_point(row, columns)]
    if rows["/"] not in first:
        first.append(rows["/"])
    rest = [row for row in rows.values() if row not in first]
    if not rest:
        return first
    tables = zip(*(row.cells for row in rest), strict=True)
    counts = [sum(cell is not None for cell in cells) for cells in tables]
    cells = tuple(Cell(f"{count} mounts", "", True) if count else None for count in counts)
    return [*first, Row(f"… {len(rest)} more", cells)]


def _is_the_point(row: Row, columns: Sequence[Column]) -> bool:
    """Whether sandboxes differ here, or the only one has what nobody else has."""
    boxes = [n for n, column in enumerate(columns) if column.colour != style.HOST]
    if len(boxes) == 1:
        return None in row.cells and any(column in columns[1:] for _, column in row.own(columns))
    return len({cell and cell.name for cell in map(row.cells.__getitem__, boxes)}) > 1


def _cell(mount: Mount | None, index: int, owners: Sequence[set[str]]) -> Cell | None:
    if mount is None:
        return None
    shared = any(mount.device in devices for at, devices in enumerate(owners) if at != index)
    source = mount.source.rpartition("/")[2]
    name = mount.fstype if source in (mount.fstype, "none", "") else f"{mount.fstype} {source}"
    part = "" if mount.root == "/" else ", part of it"
    mode = ", read-only" if mount.read_only else ""
    return Cell(name, f"{mount.device}{part}{mode}", shared)


def _name(point: str) -> str:
    """The point, without the place of this course, which is a path on its user's disk."""
    is_ours = point == COURSE or point.startswith(f"{COURSE}/")
    return f"(the course){point.removeprefix(COURSE)}" if is_ours else point


def finding(columns: Sequence[Column]) -> str:
    """Say in one line what the picture shows."""
    rows = all_rows(columns).values()
    for row in rows:
        own = [(cell.name, c.label) for cell, c in row.own(columns) if c.colour != style.HOST]
        if len({name for name, _ in own}) > 1:
            return f"At {row.label}: " + ", ".join(f"{name} in {label}" for name, label in own)
    for row in rows:
        own_by = [column.label for _, column in row.own(columns)]
        if own_by and None in row.cells:
            return f"{row.label} is a mount point in {own_by[0]} only"
    return f"{len(columns)} tables with the same file systems"


def words(columns: Sequence[Column]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(columns)}."]
    rows = all_rows(columns).values()
    for column in columns:
        own = [
            f"{cell.name} ({cell.detail}) at {row.label}"
            for row in rows
            for cell, owner in row.own(columns)
            if owner is column
        ]
        parts.append(
            f"{column.label}: {len(column.table)} mounts, of which only here: "
            f"{', '.join(own) or 'none'}."
        )
    return " ".join(parts)


def table(columns: Sequence[Column]) -> list[tuple[object, ...]]:
    """Return all rows, with a row of headings first."""
    head = ("mount point", *(f"{c.label} ({c.table.namespace})" for c in columns))
    lines = [
        (row.label, *(f"{cell.name} ({cell.detail})" if cell else "" for cell in row.cells))
        for row in sorted(all_rows(columns).values(), key=lambda row: row.label)
    ]
    return [head, *lines]


def page(columns: Sequence[Column]) -> Page:
    """Draw the tables."""
    shown = few_rows(columns)
    high = TOP + len(shown) * (HIGH + GAP) + 3.4
    sheet = Page(high, finding(columns), inches=WIDTH)
    sheet.text(1.5, TOP - 3.4, "mount point")
    width = (100 - POINTS - 1.6 * len(columns)) / len(columns)
    for index, column in enumerate(columns):
        left, fill = POINTS + index * (width + 1.6), f"{column.colour}12"
        sheet.box(left, 7.4, width, sheet.height - 10, column.colour, fill=fill, pad=0.6)
        sheet.text(left + 1.6, 7.4, column.label, bold=True, tab=True)
        sheet.text(left + 1.6, TOP - 2.2, f"{len(column.table)} mounts")
        for number, row in enumerate(shown):
            _draw_cell(sheet, row.cells[index], column, left + 1.1, _top(number), width - 2.2)
    for number, row in enumerate(shown):
        label = row.label if len(row.label) < 20 else f"…{row.label[-18:]}"
        sheet.text(1.5, _top(number) + HIGH / 2, label, "body")
    sheet.text(99, high - 1.1, NOTE, right=True)
    return sheet


def _top(number: int) -> float:
    return TOP + number * (HIGH + GAP)


def _draw_cell(
    sheet: Page, cell: Cell | None, column: Column, left: float, top: float, width: float
) -> None:
    if cell is None or not cell.detail:
        middle = left + width / 2, top + HIGH / 2
        said = cell.name if cell else "no mount"
        sheet.text(*middle, said, colour=style.QUIET, centre=True, italic=True)
        return
    edge, fill, line = column.colour, f"{column.colour}66", 2.0
    if cell.shared:
        edge, fill, line = style.SHARED, f"{style.SHARED}22", 1.2
    sheet.box(left, top, width, HIGH, edge, fill=fill, pad=0.5, line=line)
    sheet.text(left + 1.2, top + HIGH * 0.33, cell.name, "body", bold=not cell.shared)
    sheet.text(left + 1.2, top + HIGH * 0.74, cell.detail)


class MountMap:
    """Draws the mount tables of named sandboxes: `MountMap({"sandbox A": a}).draw()`.

    A number in place of a sandbox stands for the process with that PID. The host's own table is
    the first column.
    """

    def __init__(self, boxes: Mapping[str, Sandbox | int]) -> None:
        self.boxes = named_boxes(boxes)

    def draw(self) -> None:
        """Show the tables as they are now."""
        columns = [Column("the host", style.HOST, mounts())] + [
            Column(label, style.WHO[index % len(style.WHO)], mounts(of=box))
            for index, (label, box) in enumerate(self.boxes.items())
        ]
        page(columns).show(words(columns), table(columns))
