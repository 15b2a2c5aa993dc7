"""Mount tables side by side: one column a namespace, one row a mount point.

Grey is a file system that another of the tables has, too; in colour is what only one of them has.
All of it is as /proc/PID/mountinfo has it: a file system is known by its number, major:minor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.mounts import Mount, MountTable
from labsupport.views import style

POINTS = 19.0  # width of the column of mount points, on a page 100 units wide
HIGH, GAP = 5.6, 0.8  # of a chip, and between two
TOP = 12.6  # where the first row begins
COURSE = str(Path(__file__).parents[2])  # in the Lab VM a mount point; where, is nobody's concern
MANY = 3  # that many rows alike are shown one by one, more as one


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


def rows(
    columns: Sequence[Column], all_of_them: bool = False, also: Iterable[str] = ()
) -> list[Row]:
    """Set the tables side by side; many rows of the same kind become one.

    `also` are points that get a row of their own, even if nothing is mounted there.
    """
    also = {"/", *also}
    visible = [column.table.visible() for column in columns]
    owners = [{mount.device for mount in column.table} for column in columns]
    points = sorted(set(also).union(*visible))
    groups: dict[tuple[object, ...], list[Row]] = {}
    for point in points:
        found = [table.get(point) for table in visible]
        cells = tuple(_cell(mount, index, owners) for index, mount in enumerate(found))
        kind = tuple(None if cell is None else cell.shared for cell in cells)
        groups.setdefault((point if point in also else "", *kind), []).append(
            Row(_name(point), cells)
        )
    shown: list[Row] = []
    for key, members in groups.items():
        alike = len(members) > MANY and not any(_private_here(key, columns))
        shown += [_together(members)] if alike and not all_of_them else members
    return sorted(shown, key=lambda row: (row.label.startswith("…"), row.label))


def _private_here(kind: tuple[object, ...], columns: Sequence[Column]) -> Iterator[bool]:
    """Whether a sandbox alone has it: such rows are never put together."""
    for shared, column in zip(kind[1:], columns, strict=True):
        yield shared is False and column.colour != style.HOST


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
    """The point, but for where this course lies: that is a place on its user's disk."""
    is_ours = point == COURSE or point.startswith(f"{COURSE}/")
    return f"(the course){point.removeprefix(COURSE)}" if is_ours else point


def _together(members: Sequence[Row]) -> Row:
    """Write several rows as one."""
    cells = tuple(
        None if cell is None else Cell(f"{len(members)} mounts", f"such as {members[0].label}",
                                       cell.shared)
        for cell in members[0].cells
    )  # fmt: skip
    return Row(f"… {len(members)} more points", cells)


def finding(columns: Sequence[Column]) -> str:
    """Say in one line what the picture shows."""
    everything = rows(columns, all_of_them=True)
    for row in everything:
        own = [(cell.name, c.label) for cell, c in _own(row, columns) if c.colour != style.HOST]
        if len({name for name, _ in own}) > 1:
            return f"At {row.label}: " + ", ".join(f"{name} in {label}" for name, label in own)
    for row in everything:
        own_by = [column.label for _, column in _own(row, columns)]
        if own_by and None in row.cells:
            return f"{row.label} is a mount point in {own_by[0]} only"
    return f"{len(columns)} tables with the same file systems"


def words(columns: Sequence[Column]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(columns)}."]
    for column in columns:
        own = [
            f"{cell.name} ({cell.detail}) at {row.label}"
            for row in rows(columns, all_of_them=True)
            for cell, owner in _own(row, columns)
            if owner is column
        ]
        parts.append(
            f"{column.label}, mount namespace {column.table.namespace}: {len(column.table)} "
            f"mounts, of which only here: {', '.join(own) or 'none'}."
        )
    return " ".join(parts)


def _own(row: Row, columns: Sequence[Column]) -> Iterator[tuple[Cell, Column]]:
    """What is in one table only, and in which."""
    for cell, column in zip(row.cells, columns, strict=True):
        if cell and not cell.shared:
            yield cell, column


def table(columns: Sequence[Column]) -> list[tuple[object, ...]]:
    """Return all rows, with a row of headings first."""
    head = ("mount point", *(f"{c.label} ({c.table.namespace})" for c in columns))
    lines = [
        (row.label, *("" if cell is None else f"{cell.name} ({cell.detail})" for cell in row.cells))
        for row in rows(columns, all_of_them=True)
    ]
    return [head, *lines]


def needed_height(columns: Sequence[Column], also: Iterable[str] = ()) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + len(rows(columns, also=also)) * (HIGH + GAP) + 3.4


def draw_mounts(
    axes: Axes, columns: Sequence[Column], title: str = "", also: Sequence[str] = ()
) -> None:
    """Draw the tables into `axes`, which fills its figure; the title is the finding unless given.

    `also` are points that get a row even if nothing is mounted there.
    """
    shown = rows(columns, also=also)
    high = needed_height(columns, also)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(
        1.5, 3, title or finding(columns), size=style.size("title"), weight="bold", va="center"
    )
    axes.text(1.5, TOP - 3.4, "mount point", size=style.size("small"), va="center")
    width = (100 - POINTS - 1.6 * len(columns)) / len(columns)
    for index, column in enumerate(columns):
        left = POINTS + index * (width + 1.6)
        _draw_frame(axes, column, left, width, high)
        for number, row in enumerate(shown):
            _draw_cell(axes, row.cells[index], column, left + 1.1, _top(number), width - 2.2)
    for number, row in enumerate(shown):
        label = row.label if len(row.label) < 20 else f"…{row.label[-18:]}"
        axes.text(1.5, _top(number) + HIGH / 2, label, size=style.size("body"), va="center",
                  weight="bold" if _differs(row) else "normal")  # fmt: skip
    note = (
        "grey: a file system that another table has, too; in colour: only here; "
        "7:0 and the like: its number"
    )
    axes.text(99, high - 1.1, note, size=style.size("small"), va="center", ha="right")


def _differs(row: Row) -> bool:
    return len({cell and cell.name for cell in row.cells}) > 1 and not row.label.startswith("…")


def _top(number: int) -> float:
    return TOP + number * (HIGH + GAP)


def _draw_frame(axes: Axes, column: Column, left: float, width: float, high: float) -> None:
    box = (left, 7.4, width, high - 7.4 - 2.6)
    _rounded(axes, box, 0.6, column.colour + "12", column.colour, 1.8)
    axes.text(
        left + 1.6, 7.4, f"{column.label} · {column.table.namespace}", size=style.size("small"),
        va="center", weight="bold", color=style.INK,
        bbox={"facecolor": style.PAPER, "edgecolor": column.colour, "pad": 2.2, "linewidth": 1},
    )  # fmt: skip
    total = f"{len(column.table)} mounts"
    axes.text(left + 1.6, TOP - 2.2, total, size=style.size("small"), va="center")


def _draw_cell(
    axes: Axes, cell: Cell | None, column: Column, left: float, top: float, width: float
) -> None:
    middle = top + HIGH / 2
    if cell is None:
        axes.text(left + width / 2, middle, "no mount", size=style.size("small"), ha="center",
                  va="center", style="italic", color="#666666")  # fmt: skip
        return
    edge = style.SHARED if cell.shared else column.colour
    face = style.SHARED + "22" if cell.shared else column.colour + "66"
    _rounded(axes, (left, top, width, HIGH), 0.5, face, edge, 1.2 if cell.shared else 2.0)
    weight = "normal" if cell.shared else "bold"
    axes.text(left + 1.2, top + HIGH * 0.33, cell.name, size=style.size("body"), va="center",
              weight=weight)  # fmt: skip
    axes.text(left + 1.2, top + HIGH * 0.74, cell.detail, size=style.size("small"), va="center")


def _rounded(
    axes: Axes, box: tuple[float, float, float, float], radius: float, face: str, edge: str,
    line: float,
) -> None:  # fmt: skip
    left, top, width, height = box
    axes.add_artist(
        FancyBboxPatch(
            (left + radius, top + radius), width - 2 * radius, height - 2 * radius,
            boxstyle=f"round,pad={radius}", facecolor=face, edgecolor=edge, linewidth=line,
        )
    )  # fmt: skip
