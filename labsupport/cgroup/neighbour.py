"""The neighbour of a noisy program: a small database whose answers are timed as a client sees them.

Redis answers one question after the other on a Unix socket. Each question makes it sort some
thousand numbers, which takes a few milliseconds of CPU time: what a noisy neighbour takes away.
"""

from __future__ import annotations

import math
import random
import socket
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.cgroup.group import Cgroup
from labsupport.errors import TimedOut
from labsupport.figure import style
from labsupport.net.servers import database
from labsupport.ownership.marks import Closing
from labsupport.sandbox.sandbox import Sandbox

Table = list[tuple[object, ...]]
NUMBERS = 10_000  # sorting them takes 2 to 3 ms
PAUSE_SECONDS = 0.002  # between two questions: a CPU that is never idle has no neighbours
PATIENCE_SECONDS = 10.0
WARM_UP = 5  # questions that are not counted
FEWEST = 12  # answers, so that the slowest one is not what nine of ten keep to


@dataclass(frozen=True)
class ResponseTimes:
    """How long each answer took, in seconds, in the order they came."""

    label: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the answers took no longer, in seconds."""
        return statistics.median(self.seconds)

    @property
    def p90(self) -> float:
        """Nine of ten answers took no longer, in seconds."""
        return sorted(self.seconds)[-(-len(self.seconds) * 9 // 10) - 1]

    def __repr__(self) -> str:
        return (
            f"<{self.label}: {len(self.seconds)} answers, half within "
            f"{milliseconds(self.median)}, 90 % within {milliseconds(self.p90)}>"
        )


class Neighbour(Closing):
    """A database in a sandbox: `with Neighbour() as neighbour: neighbour.measure("alone")`.

    Args:
        group: the control group that its server runs in; None: that of this notebook.

    """

    def __init__(self, group: Cgroup | None = None) -> None:
        self.group = group
        self._ends = ExitStack()

    def open(self) -> Self:
        """Start the server, and give it something to sort."""
        with ExitStack() as ends:
            server = database()
            ends.callback(server.close)
            self.box = ends.enter_context(Sandbox(new={"pid"}, cgroup=self.group))
            self.box.start(server.argv)
            server.ask()
            self._connection = ends.enter_context(socket.socket(socket.AF_UNIX))
            self._connection.settimeout(PATIENCE_SECONDS)
            self._connection.connect(str(server.address))
            chosen = random.Random(1)
            self._ask("RPUSH", "numbers", *(str(chosen.random()) for _ in range(NUMBERS)))
            self._ends = ends.pop_all()
        return self

    def close(self) -> None:
        """End the server; may be called twice."""
        self._ends.close()

    def __enter__(self) -> Self:
        return self.open()

    def measure(self, label: str, seconds: float = 2.0) -> ResponseTimes:
        """Ask one question after another for `seconds`, and time each answer.

        Raises `TimedOut`: it did not answer within ten seconds.
        """
        return together({label: self}, seconds)[0]

    def _timed(self) -> float:
        began = time.perf_counter()
        self._sort()
        return time.perf_counter() - began

    def _sort(self) -> None:
        self._ask("SORT", "numbers", "LIMIT", "0", "1")

    def _ask(self, *words: str) -> bytes:
        """Send a command as Redis wants it: how many words, each with its length."""
        parts = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word))]
        try:
            self._connection.sendall("\r\n".join([*parts, ""]).encode())
            return self._connection.recv(1 << 16)
        except TimeoutError as error:
            why = f"waited for {PATIENCE_SECONDS:g} s"
            raise TimedOut("the neighbour does not answer", why) from error


def together(neighbours: Mapping[str, Neighbour], seconds: float = 2.0) -> list[ResponseTimes]:
    """Ask several in turn, so that all meet the same machine; returns them by their labels.

    It takes `seconds`, and longer where there are fewer than twelve answers by then.

    Raises `TimedOut`: one of them did not answer within ten seconds.
    """
    for _ in range(WARM_UP):
        for each in neighbours.values():
            each._sort()
    times: dict[str, list[float]] = {label: [] for label in neighbours}
    end = time.monotonic() + seconds
    while min(map(len, times.values())) < FEWEST or time.monotonic() < end:
        for label, each in neighbours.items():
            times[label].append(each._timed())
            time.sleep(PAUSE_SECONDS)
    return [ResponseTimes(label, tuple(taken)) for label, taken in times.items()]


# --- response times: a histogram for each neighbour, below each other ---------------------------

PER_DECADE = 12  # bars for each power of ten: on a linear axis a long tail would hide all the rest
ROW_INCHES, HEAD_INCHES, FOOT_INCHES = 0.85, 0.5, 0.6


def milliseconds(seconds: float) -> str:
    """Write a time in milliseconds, with two digits that count."""
    ms = 1000 * seconds
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def times_finding(measured: Sequence[ResponseTimes]) -> str:
    """Say in one line what the picture shows."""
    return f"Nine of ten answers within {', '.join(milliseconds(each.p90) for each in measured)}"


def times_words(measured: Sequence[ResponseTimes]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [
        f"{label}: {count} answers, half within {median}, 90 % within {p90}, slowest {slowest}."
        for label, count, median, p90, slowest in times_table(measured)[1:]
    ]
    return f"{times_finding(measured)}. {' '.join(parts)}"


def times_table(measured: Sequence[ResponseTimes]) -> Table:
    """The same as rows."""
    rows = [
        (each.label, len(each.seconds),
         *map(milliseconds, (each.median, each.p90, max(each.seconds))))
        for each in measured
    ]  # fmt: skip
    return [("the database", "answers", "half within", "90 % within", "slowest"), *rows]


def times_figure(measured: Sequence[ResponseTimes]) -> Figure:
    """Draw the histograms, on one logarithmic axis of time."""
    logs = [math.log10(1000 * seconds) for each in measured for seconds in each.seconds]
    first, last = math.floor(PER_DECADE * min(logs)), math.floor(PER_DECADE * max(logs)) + 1
    edges = [10 ** (number / PER_DECADE) for number in range(first, last + 1)]
    high = HEAD_INCHES + FOOT_INCHES + ROW_INCHES * len(measured)
    figure = style.new_figure(9.2, high)
    for number, each in enumerate(measured):
        bottom = FOOT_INCHES + ROW_INCHES * (len(measured) - 1 - number)
        axes = figure.add_axes((0.33, bottom / high, 0.63, 0.78 * ROW_INCHES / high))
        _draw_times(axes, each, edges, style.SHARED if number == 0 else style.FIRST)
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("time until the answer came", size=style.size("body"), color=style.INK)
    title = {"size": style.size("large"), "weight": "bold", "va": "top", "color": style.INK}
    figure.text(0.015, 0.98, times_finding(measured), title)
    return figure


def _draw_times(axes: Axes, times: ResponseTimes, edges: Sequence[float], colour: str) -> None:
    """Draw one histogram, with a line at what nine of ten answers kept to."""
    answers = [1000 * seconds for seconds in times.seconds]
    counts, *_ = axes.hist(answers, edges, color=colour, alpha=0.6, edgecolor=style.PAPER)
    axes.set(xscale="log", xlim=(edges[0], edges[-1]), ylim=(0, 1.1 * max(counts)), yticks=[])
    axes.axvline(1000 * times.p90, color=style.INK, lw=1.6)
    marks = [step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)]
    axes.set_xticks([mark for mark in marks if edges[0] <= mark <= edges[-1]])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} ms")
    axes.tick_params(labelbottom=False, labelsize=style.size("small"), labelcolor=style.INK)
    axes.spines[["top", "left", "right"]].set_visible(False)
    said = f"half within {milliseconds(times.median)}, 90 % within {milliseconds(times.p90)}"
    for y, words, look in ((0.95, times.label, "bold"), (0.5, said, "normal")):
        axes.text(-0.5, y, words, size=style.size("small"), weight=look, va="top",
                  color=style.INK, transform=axes.transAxes)  # fmt: skip


def show_response_times(*measured: ResponseTimes) -> None:
    """Show histograms of response times below each other, the first as what to compare with."""
    style.show(times_figure(measured), times_words(measured), times_table(measured))
