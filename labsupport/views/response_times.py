"""How long a server's answers took beside different neighbours: a histogram for each, one scale.

The scale is logarithmic: a tail that is ten times as long would otherwise hide all the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from labsupport.neighbour import ResponseTimes
from labsupport.views import style

PER_DECADE = 12  # bars for each tenfold
HEAD_INCHES, ROW_INCHES, FOOT_INCHES = 0.42, 1.0, 0.62
COLOURS = (style.SHARED, style.KERNEL, style.SECOND)


@dataclass(frozen=True)
class Bars:
    """A histogram: the edges of its bars in milliseconds, and the share of answers in each."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


def edges(measured: Sequence[ResponseTimes]) -> tuple[float, ...]:
    """Return the bars' edges in milliseconds, the same for all."""
    all_ms = [1000 * seconds for each in measured for seconds in each.seconds]
    first = math.floor(PER_DECADE * math.log10(min(all_ms)))
    last = math.floor(PER_DECADE * math.log10(max(all_ms))) + 1
    return tuple(10 ** (number / PER_DECADE) for number in range(first, last + 1))


def bars(times: ResponseTimes, at: tuple[float, ...]) -> Bars:
    """Count which share of the answers falls between each two edges."""
    counts = [0] * (len(at) - 1)
    first = round(PER_DECADE * math.log10(at[0]))
    for seconds in times.seconds:
        number = math.floor(PER_DECADE * math.log10(1000 * seconds)) - first
        counts[min(max(number, 0), len(counts) - 1)] += 1
    return Bars(at, tuple(count / len(times.seconds) for count in counts))


def finding(measured: Sequence[ResponseTimes]) -> str:
    """Say in one line what the picture shows."""
    parts = [f"{each.label} {milliseconds(each.p99)}" for each in measured]
    return f"99 % within: {', '.join(parts)}"


def milliseconds(seconds: float) -> str:
    """Write a time in milliseconds, with two digits that count."""
    ms = 1000 * seconds
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def words(measured: Sequence[ResponseTimes]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [
        f"{each.label}: {len(each.seconds)} answers, median {milliseconds(each.median)}, "
        f"99th percentile {milliseconds(each.p99)}, slowest {milliseconds(max(each.seconds))}."
        for each in measured
    ]
    return f"{finding(measured)}. {' '.join(parts)}"


def table(measured: Sequence[ResponseTimes]) -> list[tuple[object, ...]]:
    """The same as rows."""
    head: tuple[object, ...] = ("beside", "answers", "median", "99th percentile", "slowest")
    return [
        head,
        *(
            (
                each.label,
                len(each.seconds),
                milliseconds(each.median),
                milliseconds(each.p99),
                milliseconds(max(each.seconds)),
            )
            for each in measured
        ),
    ]


def show_response_times(*measured: ResponseTimes) -> None:
    """Show histograms of response times below each other, with their medians and tails."""
    figure = style.new_figure(9.2, HEAD_INCHES + FOOT_INCHES + ROW_INCHES * len(measured))
    tall, at = HEAD_INCHES + FOOT_INCHES + ROW_INCHES * len(measured), edges(measured)
    for number, each in enumerate(measured):
        bottom = (FOOT_INCHES + ROW_INCHES * (len(measured) - 1 - number)) / tall
        axes = figure.add_axes((0.24, bottom, 0.69, 0.74 * ROW_INCHES / tall))
        draw_histogram(axes, each, at, COLOURS[number % len(COLOURS)])
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("time until the answer came", size=style.size("body"))
    figure.text(0.015, 0.98, finding(measured), size=style.size("large"), weight="bold", va="top")
    style.show(figure, words(measured), table(measured))


def draw_histogram(axes: Axes, times: ResponseTimes, at: tuple[float, ...], colour: str) -> None:
    """Draw one histogram, with its median and 99th percentile named where they stand."""
    histogram = bars(times, at)
    widths = [right - left for left, right in itertools.pairwise(at)]
    axes.bar(at[:-1], histogram.shares, widths, align="edge", color=colour, alpha=0.6,
             edgecolor=style.PAPER, linewidth=0.6)  # fmt: skip
    top = max(histogram.shares)
    axes.set(xscale="log", xlim=(at[0], at[-1]), ylim=(0, 1.35 * top), yticks=[])
    _name(axes, times.median, "median ", 1.2 * top, "right")
    _name(axes, times.p99, " 99 %", 1.2 * top, "left")
    said = f"median {milliseconds(times.median)}\n99 % within {milliseconds(times.p99)}"
    axes.text(-0.326, 0.98, times.label, transform=axes.transAxes, size=style.size("body"),
              weight="bold", va="top")  # fmt: skip
    axes.text(-0.326, 0.68, said, transform=axes.transAxes, size=style.size("small"), va="top")
    _scale(axes, at)


def _scale(axes: Axes, at: tuple[float, ...]) -> None:
    """Write 1, 2, 5, 10, 20, … ms below the axis, as far as it goes."""
    marks = [step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)]
    axes.set_xticks([mark for mark in marks if at[0] <= mark <= at[-1]])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} ms")
    axes.tick_params(labelbottom=False, labelsize=style.size("small"))
    axes.spines[["top", "left", "right"]].set_visible(False)


def _name(axes: Axes, seconds: float, name: str, height: float, align: str) -> None:
    """Draw a line at a time, with its name beside its upper end."""
    axes.plot([1000 * seconds] * 2, [0, height], color=style.INK, lw=1.6)
    axes.text(1000 * seconds, height, name, size=style.size("small"), va="center", ha=align)
