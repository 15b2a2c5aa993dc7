"""Whose is this file? The same owner's number outside and inside of a user namespace.

On the left the number that the host knows, on the right what is told inside, between them the map.
Whom the map does not know arrives as the overflow user; that arrow is dashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.ids import IdMap
from labsupport.views import style

HIGH, GAP, TOP = 6.0, 2.2, 16.4
OUTSIDE, INSIDE, WIDE = 33.0, 77.0, 22.0  # left edges of the numbers, and their width
MAP = (58.0, 16.0)  # left edge and width


@dataclass(frozen=True)
class Owned:
    """A file and its owner: number and name outside, number and name inside, as stat(1) said."""

    name: str
    outside: int
    outside_name: str
    inside: int
    inside_name: str


def finding(files: Sequence[Owned], ids: IdMap) -> str:
    """Say in one line what the picture shows."""
    for each in files:
        if ids.inside(each.outside) is not None and each.inside != each.outside:
            return (
                f"One file, two owners: {each.outside} outside is {each.inside} "
                f"({each.inside_name}) inside"
            )
    return "These files have no owner whom the map knows"


def words(files: Sequence[Owned], ids: IdMap) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(files, ids)}."]
    for each in files:
        known = "by the map" if ids.inside(each.outside) is not None else "unknown to the map"
        parts.append(
            f"{each.name} belongs to {each.outside} ({each.outside_name}) outside, to {each.inside}"
            f" ({each.inside_name}) inside, {known}."
        )
    return " ".join(parts)


def table(files: Sequence[Owned], ids: IdMap) -> list[tuple[object, ...]]:
    """The same as rows."""
    rows: list[tuple[object, ...]] = [("file", "owner outside", "owner inside", "in the map")]
    for each in files:
        outside = f"{each.outside} ({each.outside_name})"
        inside = f"{each.inside} ({each.inside_name})"
        rows.append(
            (each.name, outside, inside, "no" if ids.inside(each.outside) is None else "yes")
        )
    return rows


def needed_height(count: int) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + count * (HIGH + GAP) + 1.5


def draw_owners(axes: Axes, files: Sequence[Owned], ids: IdMap) -> None:
    """Draw the owners into `axes`, which fills its figure."""
    high = needed_height(len(files))
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.6, finding(files, ids), size=style.size("title"), weight="bold", va="center")
    for left, wide, label, colour in (
        (0.8, 55.6, "the host", style.HOST),
        (75.4, 23.8, "inside", style.FIRST),
    ):
        _box(axes, (left, 8.6, wide, high - 10), style.PAPER, colour, 1.8)
        axes.text(left + 1.6, 8.6, label, size=style.size("small"), weight="bold", va="center",
                  bbox={"facecolor": style.PAPER, "edgecolor": colour, "pad": 2.2})  # fmt: skip
    for left, caption in ((2.4, "file"), (OUTSIDE, "its owner"), (INSIDE, "its owner")):
        axes.text(left, TOP - 2.6, caption, size=style.size("small"), va="center")
    _draw_map(axes, ids, high)
    for row, each in enumerate(files):
        _draw_file(axes, each, ids, TOP + row * (HIGH + GAP))


def _draw_map(axes: Axes, ids: IdMap, high: float) -> None:
    left, wide = MAP
    middle = left + wide / 2
    axes.text(middle, 8.6, "uid_map", size=style.size("body"), weight="bold", ha="center",
              va="center", family="monospace")  # fmt: skip
    lines = "\n".join(f"{line.inside} {line.outside} {line.count}" for line in ids.lines)
    axes.text(middle, 10.6, lines or "(empty)", size=style.size("body"), ha="center", va="top",
              family="monospace")  # fmt: skip
    axes.plot([middle] * 2, [TOP - 0.4, high - 1.5], color=style.SHARED, lw=1, ls=":")


def _draw_file(axes: Axes, each: Owned, ids: IdMap, top: float) -> None:
    middle = top + HIGH / 2
    known = ids.inside(each.outside) is not None
    axes.text(2.4, middle, each.name, size=style.size("body"), va="center", family="monospace")
    colour = style.FIRST if known else style.SHARED
    axes.annotate(
        "", (INSIDE - 0.2, middle), (OUTSIDE + WIDE + 0.4, middle), annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.4, "shrinkA": 0, "shrinkB": 0,
                    "linestyle": "solid" if known else "dashed", "mutation_scale": 18},
    )  # fmt: skip
    for left, number, name, edge, wide in (
        (OUTSIDE, each.outside, each.outside_name, style.HOST, WIDE),
        (INSIDE, each.inside, each.inside_name, colour, WIDE - 1.2),
    ):
        _box(axes, (left, top, wide, HIGH), style.PAPER, edge, 2.0)
        axes.text(left + wide / 2, middle, f"{number} · {name}" if name else str(number),
                  size=style.size("body"), ha="center", va="center", weight="bold")  # fmt: skip


def _box(
    axes: Axes, box: tuple[float, float, float, float], face: str, edge: str, line: float
) -> None:
    left, top, wide, high = box
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.6, top + 0.6), wide - 1.2, high - 1.2, boxstyle="round,pad=0.6",
            facecolor=face, edgecolor=edge, linewidth=line,
        )
    )  # fmt: skip
