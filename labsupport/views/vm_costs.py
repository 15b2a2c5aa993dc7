"""What a place of one's own costs: time to start, memory, disk; a bar for each, on a log scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.views import style

WIDTH = 9.8  # inches
COLOURS = (style.FIRST, style.SECOND, style.THIRD, style.SHARED)


@dataclass(frozen=True)
class Cost:
    """What was measured of one way: seconds until its first program ran, bytes that it takes."""

    name: str
    start_seconds: float
    memory_bytes: int
    disk_bytes: int


def finding(costs: Sequence[Cost]) -> str:
    """Say in one line how the last compares with the first."""
    first, last = costs[0], costs[-1]
    times = _rounded(last.start_seconds / first.start_seconds)
    memory = _rounded(last.memory_bytes / first.memory_bytes)
    return f"The {last.name}: {times} times the time, {memory} times the memory"


def _rounded(ratio: float) -> str:
    """Write a ratio with two digits: nobody could measure more."""
    return f"{float(f'{ratio:.2g}'):,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def table(costs: Sequence[Cost]) -> list[tuple[object, ...]]:
    """Return a row for each way, with a row of headings first."""
    head = ("", "first program after", "memory", "disk")
    return [head, *((c.name, *(panel[2](c) for panel in _PANELS)) for c in costs)]


def words(costs: Sequence[Cost]) -> str:
    """Say all of it: the picture's text alternative."""
    rows = table(costs)[1:]
    parts = [f"{name}: {time} to start, {memory} of memory, {disk} of disk"
             for name, time, memory, disk in rows]  # fmt: skip
    return f"{finding(costs)}. {'; '.join(parts)}."


def _seconds(cost: Cost) -> str:
    seconds = cost.start_seconds
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _bytes(size: int) -> str:
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    if size >= 1e8:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


_PANELS = (
    ("until its first program ran", lambda c: c.start_seconds, _seconds),
    ("memory in use", lambda c: c.memory_bytes, lambda c: _bytes(c.memory_bytes)),
    ("disk", lambda c: c.disk_bytes, lambda c: _bytes(c.disk_bytes) if c.disk_bytes else "none"),
)


def draw_costs(panels: Sequence[Axes], costs: Sequence[Cost]) -> None:
    """Draw three panels beside each other: time, memory, disk."""
    for number, (axes, (title, value, written)) in enumerate(zip(panels, _PANELS, strict=True)):
        values = [value(cost) for cost in costs]
        most = max(values)
        present = [each for each in values if each]
        least = min(present) / 2 if len(present) > 1 else most / 1000
        axes.set_xscale("log")
        axes.set(xlim=(least, most * (most / least) ** 0.42), ylim=(len(costs) - 0.4, -0.7))
        axes.set_title(title, size=style.size("body"), loc="left")
        for row, cost in enumerate(costs):
            if values[row]:
                axes.barh(row, values[row] - least, 0.58, left=least, color=COLOURS[row],
                          edgecolor=style.INK, linewidth=0.8)  # fmt: skip
            end = max(values[row], least) * (most / least) ** 0.02
            axes.text(end, row, written(cost), va="center",
                      size=style.size("body"), weight="bold")  # fmt: skip
        names = [cost.name for cost in costs] if number == 0 else [""] * len(costs)
        axes.set_yticks(range(len(costs)), names, size=style.size("body"))
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
        axes.minorticks_off()
        axes.spines[["top", "right", "bottom"]].set_visible(False)


def figure_of(costs: Sequence[Cost]) -> Figure:
    """Return the picture."""
    high = 1.3 + 0.55 * len(costs)
    figure = style.new_figure(WIDTH, high)
    figure.text(0.012, 0.97, finding(costs), size=style.size("title"), weight="bold", va="top")
    figure.text(0.985, 0.03, "bars on a logarithmic scale", size=style.size("small"), ha="right")
    low, top = 0.34 / high, 1 - 0.85 / high
    panels = [figure.add_axes((left, low, 0.255, top - low)) for left in (0.175, 0.455, 0.735)]
    draw_costs(panels, costs)
    return figure


def show_costs(costs: Sequence[Cost]) -> None:
    """Show the bars in the notebook, with all numbers behind a click."""
    style.show(figure_of(costs), words(costs), table(costs))
