"""How many system calls are refused to whom, beside the number that the lecture gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from labsupport.linux.filters.verdicts import Verdict
from labsupport.views import style, syscall_grid

LECTURE = 44
MARGINS = (0.24, 0.17, 0.73, 0.64)  # left, bottom, width, height of the axes, of the figure


def finding(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """Say in one line what the picture shows."""
    who, first = next(iter(verdicts.items()))
    denied = sum(verdict.kind == "denied" for verdict in first)
    return f"The lecture says {LECTURE}; {who} here: {denied} of {len(first)}"


def words(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(verdicts)}."]
    return " ".join(parts + [f"{syscall_grid.finding(v, who)}." for who, v in verdicts.items()])


def table(verdicts: Mapping[str, Sequence[Verdict]]) -> list[tuple[object, ...]]:
    """The same as rows: who, and how many calls of each kind, of how many."""
    rows: list[tuple[object, ...]] = [("process", *syscall_grid.KINDS.values(), "of")]
    for who, each in verdicts.items():
        counts = Counter(verdict.kind for verdict in each)
        rows.append((who, *(counts[kind] for kind in syscall_grid.KINDS), len(each)))
    return rows


def draw(axes: Axes, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Draw a bar for each process, and the lecture's number as a line, into `axes`."""
    syscall_grid.draw_counts(axes, verdicts, "")
    axes.axvline(LECTURE, color=style.INK, linestyle="--", linewidth=1.4, zorder=3)
    axes.text(LECTURE, -0.72, f"the lecture: {LECTURE}", size=style.size("small"), ha="center",
              va="bottom")  # fmt: skip


def show_counts(verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Show the counts in the notebook, with their words and the table behind them."""
    figure = style.new_figure(8.6, 1.5 + 0.45 * len(verdicts))
    figure.text(0.012, 0.95, finding(verdicts), size=style.size("title"), weight="bold", va="top")
    draw(figure.add_axes(MARGINS), verdicts)
    style.show(figure, words(verdicts), table(verdicts))
