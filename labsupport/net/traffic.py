"""Downloads against the limit of a token bucket: measured by the link's counter, and drawn.

The kernel's own counter of the receiving link says how much has come in.
"""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.errors import NoAnswer
from labsupport.figure import style
from labsupport.kernel import netlink
from labsupport.sandbox.sandbox import Sandbox

T = TypeVar("T")
LINK = "eth0"
WINDOW_SECONDS, WARM_UP_SECONDS = 0.25, 0.5


@dataclass(frozen=True)
class Reading:
    """`received_bytes` had come in `at_seconds` after the beginning; `limit` was then in force.

    `waiting_bytes` were in the bucket's queue.
    """

    at_seconds: float
    received_bytes: int
    limit_bytes_per_second: int | None = None
    waiting_bytes: int = 0


@dataclass(frozen=True)
class Recording:
    """The readings of one download, and what was counted of it in the end.

    The link has counted `received_bytes`, the bucket `charged_bytes`, of the same packets.
    """

    readings: tuple[Reading, ...]
    received_bytes: int = 0
    charged_bytes: int = 0

    def bytes_per_second(self) -> float:
        """The mean rate after half a second, when the bucket's first burst is gone."""
        used = [reading for reading in self.readings if reading.at_seconds >= WARM_UP_SECONDS]
        first, last = used[0], used[-1]
        return (last.received_bytes - first.received_bytes) / (last.at_seconds - first.at_seconds)

    def kept_waiting(self) -> float:
        """The share of the readings, after the first half second, at which packets waited."""
        # as long as some do, it is the bucket that holds the download up
        used = [each for each in self.readings if each.at_seconds >= WARM_UP_SECONDS]
        return sum(each.waiting_bytes > 0 for each in used) / len(used)

    def curve(self) -> list[tuple[float, float]]:
        """The rate over time: (seconds, bytes per second), each the mean of a window before it."""
        found, first = [], 0
        for reading in self.readings:
            while self.readings[first].at_seconds < reading.at_seconds - WINDOW_SECONDS:
                first += 1
            before = self.readings[max(0, first - 1)]
            if seconds := reading.at_seconds - before.at_seconds:
                rate = (reading.received_bytes - before.received_bytes) / seconds
                found.append((reading.at_seconds, rate))
        return found


def download(receiver: Sandbox, url: str, sender: Sandbox, seconds: float = 3) -> Recording:
    """Have wget(1) in `receiver` fetch a file for some seconds, and record how it went.

    The readings also tell the limit of `sender`'s token bucket. The link is eth0 in both.
    Raises `NoAnswer`: the download has ended before.
    """
    receiving, sending = (box.net.link(LINK).index for box in (receiver, sender))

    def count() -> tuple[int, netlink.Bucket | None]:
        bucket = netlink.buckets(sender.net.kernel).get(sending)
        return netlink.received_bytes(receiver.net.kernel, receiving), bucket

    first, before = count()  # before anything moves
    process = receiver.start(["busybox", "wget", "-q", "-O", "/dev/null", url])
    began = time.monotonic()
    readings: list[Reading] = []
    try:
        while not readings or readings[-1].at_seconds < seconds:
            if process.returncode is not None:
                raise NoAnswer(f"the download {process.ending}", process.errors.strip())
            received, bucket = count()
            found = (bucket.rate, bucket.waiting_bytes) if bucket else (None, 0)
            readings.append(Reading(time.monotonic() - began, received - first, *found))
            time.sleep(0.05)
    finally:
        process.signal(signal.SIGKILL)
        process.wait()
    received, bucket = _when_nothing_moves(count)
    charged = bucket.passed_bytes - (before.passed_bytes if before else 0) if bucket else 0
    return Recording(tuple(readings), received - first, charged)


def _when_nothing_moves(count: Callable[[], T]) -> T:
    last, now = None, count()
    while now != last:
        time.sleep(0.05)
        last, now = now, count()
    return now


MEGABYTE = 1e6


def finding(recordings: Mapping[float, Recording]) -> str:
    """Say in one line what the picture shows; `recordings` are by limit in bytes per second."""
    worst = max(abs(each.bytes_per_second() / limit - 1) for limit, each in recordings.items())
    return f"Real downloads keep to the limit: at most {100 * worst:.0f} % off"


def words(recordings: Mapping[float, Recording]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(recordings)}."]
    for limit, each in recordings.items():
        rate = each.bytes_per_second() / MEGABYTE
        parts.append(f"Limit {limit / MEGABYTE:g} MB/s: measured {rate:.2f} MB/s.")
    return " ".join(parts)


def table(recordings: Mapping[float, Recording]) -> list[tuple[object, ...]]:
    """The same as rows: limit, measured, share."""
    rows: list[tuple[object, ...]] = [("limit, MB/s", "measured, MB/s", "of the limit")]
    for limit, each in recordings.items():
        rate = each.bytes_per_second()
        rows.append((f"{limit / MEGABYTE:g}", f"{rate / MEGABYTE:.2f}", f"{rate / limit:.0%}"))
    return rows


def figure(recordings: Mapping[float, Recording]) -> Figure:
    """Draw a curve for each limit (bytes per second), and how much was measured."""
    longest = max(each.readings[-1].at_seconds for each in recordings.values())
    drawn, small = style.new_figure(9.2, 3.8), style.size("small")
    axes = drawn.add_axes((0.08, 0.16, 0.77, 0.7))
    for number, (limit, each) in enumerate(recordings.items()):
        _draw_curve(axes, each, style.WHO[number % len(style.WHO)])
        measured = f"measured {each.bytes_per_second() / MEGABYTE:.2f}"
        axes.text(longest * 1.01, limit / MEGABYTE, measured, va="center", size=small)
    axes.set(xlim=(0, longest), ylim=(0, 1.6 * max(recordings) / MEGABYTE))
    axes.set_xlabel("seconds since the download began", size=small)
    axes.set_ylabel("received, MB/s", size=small)
    axes.tick_params(labelsize=small)
    axes.spines[["top", "right"]].set_visible(False)
    heading: dict[str, Any] = {"loc": "left", "size": style.size("title"), "weight": "bold", "pad": 12}
    axes.set_title(finding(recordings), **heading)
    return drawn


def _draw_curve(axes: Axes, recording: Recording, colour: str) -> None:
    """Draw a rate, and its limit as a dashed line with the last value on it."""
    points = recording.curve()
    axes.plot(
        [at for at, _ in points], [rate / MEGABYTE for _, rate in points], color=colour, lw=2.4
    )
    read = [reading for reading in recording.readings if reading.limit_bytes_per_second]
    limits = [(reading.limit_bytes_per_second or 0) / MEGABYTE for reading in read]
    if limits:
        times = [reading.at_seconds for reading in read]
        axes.step(times, limits, where="post", color=style.INK, linestyle="--", linewidth=1.3)
        above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "va": "bottom"}
        told, small = f"limit {limits[-1]:g} MB/s", style.size("small")
        axes.annotate(told, (times[-1], limits[-1]), ha="right", size=small, **above)


def show_bandwidth(recordings: Mapping[float, Recording]) -> None:
    """Show in the notebook the recordings of downloads, by limit in bytes per second."""
    style.show(figure(recordings), words(recordings), table(recordings))
