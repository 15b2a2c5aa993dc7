"""The syscall grid: one small square for each system call, by what it is about.

A call has the same place in every grid, so that two can be laid side by side. What filters let pass
is pale; what they refuse is vermilion and crossed out; half of each if it depends on arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from labsupport.linux.filters.syscall_groups import GROUPS
from labsupport.linux.filters.verdicts import Verdict
from labsupport.views import style

KINDS = {"allowed": "allowed", "depends": "depend on arguments", "denied": "refused"}
PALE, EDGE = "#D5DCE2", "#9AA5AE"
COLUMNS = 35
CELL = 1.86  # a square and the gap to the next, in units of which the picture is 100 wide
SQUARE = 1.56
LEFT, TOP, GAP = 24.0, 7.0, 0.8
TALLY = 8.5  # below the last row

Point = tuple[float, float]


def finding(verdicts: Sequence[Verdict], who: str) -> str:
    """Say in one line what the grid shows."""
    counts = Counter(verdict.kind for verdict in verdicts)
    if counts["allowed"] == len(verdicts):
        return f"{who}: none of {len(verdicts)} system calls is refused"
    some = f", {counts['depends']} in part" if counts["depends"] else ""
    return f"{who}: {counts['denied']} of {len(verdicts)} system calls are refused{some}"


def words(verdicts: Sequence[Verdict], who: str) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(verdicts, who)}."]
    for group, members in by_group(verdicts).items():
        refused = [v.name for v in members if v.kind == "denied"]
        part = [v.name for v in members if v.kind == "depends"]
        said = f"{group}: {len(refused)} of {len(members)} refused"
        said += f" ({', '.join(refused)})" if refused else ""
        parts.append(said + (f", in part {', '.join(part)}." if part else "."))
    return " ".join(parts)


def table(verdicts: Mapping[str, Sequence[Verdict]]) -> list[tuple[object, ...]]:
    """The same as rows, with a column for each process; what all allow is one row at the end."""
    rows: list[tuple[object, ...]] = [("number", "system call", "about", *verdicts)]
    allowed = 0
    for same in zip(*verdicts.values(), strict=True):
        if all(each.kind == "allowed" for each in same):
            allowed += 1
            continue
        first = same[0]
        rows.append((first.number, first.name, first.group, *(each.reason for each in same)))
    return [*rows, ("", f"{allowed} others", "", *["allowed"] * len(verdicts))]


def by_group(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Sort verdicts by what the calls are about, in a fixed order of groups."""
    groups: dict[str, list[Verdict]] = {name: [] for name in (*GROUPS, "other")}
    for verdict in verdicts:
        groups[verdict.group].append(verdict)
    return {name: members for name, members in groups.items() if members}


def places(verdicts: Sequence[Verdict]) -> dict[str, Point]:
    """Where each call's square is, by name: its left upper corner, counted from the upper left."""
    found: dict[str, Point] = {}
    for _, top, members in _rows(verdicts):
        for at, verdict in enumerate(members):
            line, column = divmod(at, COLUMNS)
            found[verdict.name] = (LEFT + column * CELL, top + line * CELL)
    return found


def needed_height(verdicts: Sequence[Verdict]) -> float:
    """How high a page, 100 units wide, the grid needs."""
    *_, (_, top, members) = _rows(verdicts)
    return top + _lines(members) * CELL + TALLY


def draw_grid(axes: Axes, verdicts: Sequence[Verdict], title: str) -> None:
    """Draw the grid into `axes`, which fills its figure; see `needed_height` for its shape."""
    high = needed_height(verdicts)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3, title, size=style.size("title"), weight="bold", va="center")
    at = places(verdicts)
    for kind in KINDS:
        draw_squares(axes, [at[v.name] for v in verdicts if v.kind == kind], kind)
    for group, top, members in _rows(verdicts):
        middle = top + _lines(members) * CELL / 2 - 0.15
        axes.text(LEFT - 1.2, middle, group, size=style.size("small"), ha="right", va="center")
        refused = sum(verdict.kind == "denied" for verdict in members)
        right = LEFT + COLUMNS * CELL + 0.7
        if refused:
            axes.text(right, middle, f"{refused} of {len(members)}", size=style.size("small"),
                      va="center", color=style.KERNEL, weight="bold")  # fmt: skip
    _draw_tally(axes, verdicts, high - TALLY / 2 + 0.8)


def draw_squares(axes: Axes, corners: Sequence[Point], kind: str) -> None:
    """Draw squares of one kind: "allowed", "depends" or "denied"."""
    face = style.KERNEL if kind == "denied" else PALE
    edge = EDGE if kind == "allowed" else style.KERNEL
    squares = [_square(*corner) for corner in corners]
    axes.add_collection(
        PolyCollection(squares, facecolors=face, edgecolors=edge, linewidths=0.8), autolim=False
    )
    if kind == "denied":
        crosses = [line for corner in corners for line in _cross(*corner)]
        axes.add_collection(
            LineCollection(crosses, colors=style.PAPER, linewidths=1.3), autolim=False
        )
    if kind == "depends":
        halves = [[square[1], square[2], square[3]] for square in squares]
        axes.add_collection(PolyCollection(halves, facecolors=style.KERNEL), autolim=False)


def _draw_tally(axes: Axes, verdicts: Sequence[Verdict], middle: float) -> None:
    """The key, with how many there are of each kind."""
    counts = Counter(verdict.kind for verdict in verdicts)
    left = LEFT
    for kind, word in KINDS.items():
        draw_squares(axes, [(left, middle - SQUARE / 2)], kind)
        text = f"{counts[kind]} {word}"
        axes.text(left + 2.6, middle, text, size=style.size("body"), va="center")
        left += 5 + 1.35 * len(text)


def _rows(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, float, list[Verdict]]]:
    top = TOP
    for group, members in by_group(verdicts).items():
        yield group, top, members
        top += _lines(members) * CELL + GAP


def _lines(members: Sequence[Verdict]) -> int:
    return -(-len(members) // COLUMNS)


def _square(left: float, top: float) -> list[Point]:
    right, bottom = left + SQUARE, top + SQUARE
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cross(left: float, top: float) -> list[list[Point]]:
    near, far = SQUARE * 0.28, SQUARE * 0.72
    return [
        [(left + near, top + near), (left + far, top + far)],
        [(left + near, top + far), (left + far, top + near)],
    ]


def show_grid(verdicts: Sequence[Verdict], who: str) -> None:
    """Show the grid in the notebook, with its words and the table behind it."""
    style.show(figure_of(verdicts, who), words(verdicts, who), table({who: verdicts}))


def figure_of(verdicts: Sequence[Verdict], who: str) -> Figure:
    """Return a figure with the grid of one process."""
    figure = style.new_figure(8.6, 8.6 * needed_height(verdicts) / 100)
    draw_grid(figure.add_axes((0, 0, 1, 1)), verdicts, finding(verdicts, who))
    return figure


def draw_counts(axes: Axes, verdicts: Mapping[str, Sequence[Verdict]], title: str) -> None:
    """Draw, for each process, how many system calls its filters refuse, as a bar."""
    axes.set_title(title, size=style.size("title"), weight="bold", loc="left", pad=12)
    for place, each in enumerate(verdicts.values()):
        counts = Counter(verdict.kind for verdict in each)
        axes.barh(place, counts["denied"], color=style.KERNEL, height=0.62)
        axes.barh(place, counts["depends"], left=counts["denied"], color=PALE, height=0.62,
                  edgecolor=style.KERNEL, hatch="////", linewidth=0.8)  # fmt: skip
        said = f" {counts['denied']} of {len(each)}"
        said += f" (+ {counts['depends']} in part)" if counts["depends"] else ""
        axes.text(counts["denied"] + counts["depends"], place, said, va="center",
                  size=style.size("body"))  # fmt: skip
    most = max(sum(v.kind != "allowed" for v in each) for each in verdicts.values())
    axes.set(ylim=(len(verdicts) - 0.4, -0.6), xlim=(0, max(most, 1) * 1.5))
    axes.set_yticks(range(len(verdicts)), list(verdicts), size=style.size("body"))
    axes.set_xlabel("system calls refused", size=style.size("small"))
    axes.tick_params(axis="x", labelsize=style.size("small"))
    axes.spines[["top", "right"]].set_visible(False)
