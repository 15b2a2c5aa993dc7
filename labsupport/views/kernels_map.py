"""Which places share a kernel: boxes in boxes, host around virtual machine around container.

Each kernel is a band that carries what stands on it; two places that tell the same boot id stand on
the same band.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from labsupport.views import style
from labsupport.vm.machine.seen import Seen

WIDTH, HEIGHT = 9.8, 4.5  # inches; the axes' units are tenths of them
GIB = 1 << 30


def kernels(places: Sequence[Seen]) -> list[list[Seen]]:
    """Group the places by their kernels, in order of appearance."""
    groups: dict[str, list[Seen]] = {}
    for place in places:
        groups.setdefault(place.boot_id, []).append(place)
    return list(groups.values())


def finding(places: Sequence[Seen]) -> str:
    """Say in one line how many kernels there are."""
    groups = kernels(places)
    if len(groups) == 1:
        return f"{len(places)} places, one kernel: none of them is a virtual machine"
    return f"{len(places)} places, {len(groups)} kernels: the virtual machine has one of its own"


def table(places: Sequence[Seen]) -> list[tuple[object, ...]]:
    """Return a row for each question, a column for each place, with a row of headings first."""
    questions = {
        "kernel (uname -r)": lambda s: s.kernel,
        "boot id": lambda s: s.boot_id[:8] + "…",
        "that kernel runs since": lambda s: _duration(s.up_seconds),
        "PID 1": lambda s: s.first or "-",
        "processes": lambda s: s.processes,
        "memory (MemTotal)": lambda s: _amount(s.memory_bytes),
        "CPUs (nproc)": lambda s: s.cpus,
        "size of / (df)": lambda s: _amount(s.disk_bytes),
    }
    head = ("", *(place.where for place in places))
    return [head, *((name, *map(ask, places)) for name, ask in questions.items())]


def words(places: Sequence[Seen]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [
        f"{s.where}: kernel {s.kernel} (boot id {s.boot_id[:8]}), "
        + (f"PID 1 is {s.first}, " if s.first else "")
        + f"{s.processes} processes, {_amount(s.memory_bytes)} of memory, {s.cpus} CPUs, "
        f"{_amount(s.disk_bytes)} of disk"
        for s in places
    ]
    return f"{finding(places)}. {'. '.join(parts)}."


def draw_kernels(axes: Axes, places: Sequence[Seen]) -> None:
    """Draw the first place's kernel around all; any other kernel, with what it carries, within."""
    outer, *inner = kernels(places)
    axes.set(xlim=(0, 98), ylim=(0, 38))
    axes.axis("off")
    _box(axes, (0.6, 0.6, 96.8, 36.8), style.HOST, alpha=0.07)
    _band(axes, (1.8, 1.6, 94.4, 4.4), outer[0], style.HOST)
    columns = len(outer) + sum(len(group) for group in inner)
    wide = 93.0 / (columns + 0.12 * len(inner))
    left = 2.4
    for place in outer:
        colour = style.HOST if place is outer[0] else style.FIRST
        _place(axes, (left, 7.2, wide - 1.6, 28.6), place, colour)
        left += wide
    for group in inner:
        width = wide * (len(group) + 0.08)
        _box(axes, (left, 7.2, width, 28.6), style.KERNEL, alpha=0.08)
        axes.text(left + width / 2, 34.0, "a process of this machine: QEMU", ha="center",
                  va="center", size=style.size("small"))  # fmt: skip
        _band(axes, (left + 1, 8.2, width - 2, 4.4), group[0], style.KERNEL)
        for number, place in enumerate(group):
            at = left + 1 + number * (width - 2) / len(group)
            colour = style.SECOND if place is group[0] else style.THIRD
            _place(axes, (at, 13.6, (width - 2) / len(group) - 0.8, 18.6), place, colour)
        left += width + 0.6


def _box(axes: Axes, box: tuple[float, float, float, float], colour: str, alpha: float) -> None:
    x, y, wide, high = box
    for fill in (True, False):
        axes.add_patch(
            FancyBboxPatch(
                (x, y), wide, high, boxstyle="round,pad=0,rounding_size=0.8", fill=fill,
                facecolor=colour, edgecolor=colour, alpha=alpha if fill else 1, linewidth=1.6,
            )
        )  # fmt: skip


def _band(axes: Axes, box: tuple[float, float, float, float], place: Seen, colour: str) -> None:
    _box(axes, box, colour, alpha=0.9)
    x, y, wide, high = box
    text = f"kernel {place.kernel}, running for {_duration(place.up_seconds)}"
    axes.text(x + wide / 2, y + high / 2 - 0.1, text, ha="center", va="center", color=style.PAPER,
              weight="bold", size=style.size("small"))  # fmt: skip


def _place(axes: Axes, box: tuple[float, float, float, float], place: Seen, colour: str) -> None:
    _box(axes, box, colour, alpha=0.16)
    x, y, wide, high = box
    axes.text(x + wide / 2, y + high - 2.2, place.where, ha="center", va="center", weight="bold",
              size=style.size("body"))  # fmt: skip
    lines = [
        *([f"PID 1: {place.first}"] if place.first else []),
        f"{place.processes} processes",
        f"{_amount(place.memory_bytes)} memory",
        f"{place.cpus} CPU{'s' if place.cpus > 1 else ''}",
        f"{_amount(place.disk_bytes)} at /",
    ]
    for number, line in enumerate(lines):
        axes.text(x + 1.2, y + high - 5.4 - 2.7 * number, line, va="center",
                  size=style.size("small"))  # fmt: skip


def show_kernels(places: Sequence[Seen]) -> None:
    """Show the boxes in the notebook, with all that was seen behind a click."""
    style.show(figure_of(places), words(places), table(places))


def figure_of(places: Sequence[Seen]) -> Figure:
    """Return the picture."""
    figure = style.new_figure(WIDTH, HEIGHT)
    figure.text(0.012, 0.975, finding(places), size=style.size("title"), weight="bold", va="top")
    draw_kernels(figure.add_axes((0.005, 0.01, 0.99, 0.87)), places)
    return figure


def _amount(size: float) -> str:
    return f"{size / GIB:.0f} GiB" if size >= 10 * GIB else f"{size / GIB:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
