"""Downloads against the limit of a token bucket: measured by the link's counter, drawn, live.

The kernel's own counter of the receiving link says how much has come in.
"""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import ipywidgets

from labsupport.errors import LabError, NoAnswer
from labsupport.figure import style
from labsupport.figure.live import LivePicture, Shown, slider
from labsupport.figure.page import DASHES, Axes, Page, ticks
from labsupport.kernel import netlink
from labsupport.sandbox.sandbox import Sandbox

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


class Download:
    """wget(1) in `receiver` fetches a file; use it in a `with` block and call `read()` in it.

    The readings also tell the limit of `sender`'s token bucket. The link is eth0 in both.
    """

    def __init__(self, receiver: Sandbox, url: str, sender: Sandbox) -> None:
        self.receiver, self.sender, self.url = receiver, sender, url
        self._index = receiver.net.link(LINK).index
        self._sending = sender.net.link(LINK).index
        self.readings: list[Reading] = []

    def __enter__(self) -> Self:
        self._first, bucket = self._count()  # before anything moves
        self._charged = bucket.passed_bytes if bucket else 0
        argv = ["busybox", "wget", "-q", "-O", "/dev/null", self.url]
        self.process = self.receiver.start(argv)
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def _count(self) -> tuple[int, netlink.Bucket | None]:
        bucket = netlink.buckets(self.sender.net.kernel).get(self._sending)
        return netlink.received_bytes(self.receiver.net.kernel, self._index), bucket

    def read(self) -> Reading:
        """Read the counter, and the limit, now. Raises `NoAnswer`."""
        if self.process.returncode is not None:
            raise NoAnswer(f"the download {self.process.ending}", self.process.errors.strip())
        received, bucket = self._count()
        now = time.monotonic() - self._began
        found = (bucket.rate, bucket.waiting_bytes) if bucket else (None, 0)
        self.readings.append(Reading(now, received - self._first, *found))
        return self.readings[-1]

    @property
    def recording(self) -> Recording:
        """What has been read so far."""
        return Recording(tuple(self.readings))

    def in_the_end(self) -> Recording:
        """When it has ended: what the link and the bucket have counted, once nothing moves."""
        before = None
        while (counted := self._count()) != before:
            before = counted
            time.sleep(0.05)
        received, bucket = counted
        charged = bucket.passed_bytes - self._charged if bucket else 0
        return Recording(tuple(self.readings), received - self._first, charged)


def download(receiver: Sandbox, url: str, sender: Sandbox, seconds: float = 3) -> Recording:
    """Download for some seconds and record how it went."""
    with Download(receiver, url, sender) as running:
        while running.read().at_seconds < seconds:
            time.sleep(0.05)
    return running.in_the_end()


MEGABYTE = 1e6
HIGH = 5.0  # MB/s at the upper end of a live picture


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


PLACE = (8.0, 8.0, 75.0, 27.0)  # of the curves on their page: left, top, width, height


def page(recordings: Mapping[float, Recording]) -> Page:
    """Draw a curve for each limit (bytes per second), and how much was measured."""
    longest = max(each.readings[-1].at_seconds for each in recordings.values())
    most = 1.6 * max(recordings) / MEGABYTE
    axes = draw(list(recordings.values()), finding(recordings), longest, most)
    for limit, each in recordings.items():
        measured = f"measured {each.bytes_per_second() / MEGABYTE:.2f}"
        axes.page.text(axes.right + 0.8, axes.y(limit / MEGABYTE), measured)
    return axes.page


def draw(recordings: Sequence[Recording], title: str, seconds: float, most: float) -> Axes:
    """Draw rates over time, up to `most` MB/s, each with its limit as it was read."""
    sheet = Page(40, title, inches=9.2)
    axes = Axes(sheet, PLACE, seconds, most)
    axes.write_seconds()
    for value in ticks(most, 6):
        axes.write(value, f"{value:g}")
    sheet.text(axes.left, axes.top - 0.6, "received, MB/s", at="bottom")
    sheet.text(axes.left, axes.bottom + 3.6, "seconds since the download began")
    for number, each in enumerate(recordings):
        _draw_curve(axes, each, style.WHO[number % len(style.WHO)])
    return axes


def _draw_curve(axes: Axes, recording: Recording, colour: str) -> None:
    """Draw a rate, and its limit as a dashed line with the last value on it."""
    points = [(at, rate / MEGABYTE) for at, rate in recording.curve()]
    axes.curve(points, colour=colour, line=2.4)
    limits = [
        (reading.at_seconds, reading.limit_bytes_per_second / MEGABYTE)
        for reading in recording.readings
        if reading.limit_bytes_per_second
    ]
    if limits:
        at, limit = limits[-1]
        axes.steps(limits, at, line=1.3, dashes=DASHES)
        told, place = f"limit {limit:g} MB/s", (axes.x(at), axes.y(limit) - 0.4)
        axes.page.text(*place, told, at="bottom", right=at >= axes.end / 4, tab=True)


def show_bandwidth(recordings: Mapping[float, Recording]) -> None:
    """Show in the notebook the recordings of downloads, by limit in bytes per second."""
    page(recordings).show(words(recordings), table(recordings))


def now(recording: Recording) -> str:
    """Say the limit and the rate of the last moment."""
    points = recording.curve()
    limit = recording.readings[-1].limit_bytes_per_second if recording.readings else None
    if not points or limit is None:
        return "The download begins."
    return f"Limit {limit / MEGABYTE:g} MB/s, received {points[-1][1] / MEGABYTE:.1f} MB/s."


SLOWEST, FASTEST, START = 0.5, 4.0, 2.0  # MB/s


class Bandwidth:
    """Shows a download in `receiver` while a slider sets the limit of `sender`'s link.

    `await run(seconds=…)` shows it; the recording is returned, and kept as `recording`. Its button
    then starts another download, for as long.
    """

    def __init__(self, receiver: Sandbox, url: str, sender: Sandbox) -> None:
        self.receiver, self.sender, self.url = receiver, sender, url
        self.picture = LivePicture()
        self.slider = slider(
            ipywidgets.FloatSlider, self._set, self.picture, value=START, min=SLOWEST,
            max=FASTEST, step=0.5, description="tbf rate: MB/s",
        )  # fmt: skip
        self.button = ipywidgets.Button(description="▶ Start", disabled=True)
        self.button.on_click(lambda _: self._start_again())
        self.recording = Recording(())
        self._shown: Shown | None = None
        self._again: asyncio.Task[Recording] | None = None
        self._seconds = 0.0

    async def run(self, seconds: float = 8) -> Recording:
        """Show it, and download for some seconds, or until Stop."""
        self._seconds = seconds
        self.slider.value = START
        self._set(START)
        controls = ipywidgets.HBox([self.slider, self.button])
        self._shown = Shown(ipywidgets.VBox([controls, self.picture]), self._words())
        return await self._download()

    async def _download(self, frames_per_second: float = 4) -> Recording:
        self.button.disabled = True
        try:
            with Download(self.receiver, self.url, self.sender) as running:

                def step() -> None:
                    running.read()
                    self.recording, said = running.recording, now(running.recording)
                    sheet = draw([self.recording], said, self._seconds, HIGH).page
                    self.picture.width, self.picture.image = sheet.pixels, sheet.svg()
                    self.picture.status = said

                await self.picture.keep_going(step, self._seconds, frames_per_second)
        finally:
            self.button.disabled = False
        self.picture.alt = self._words()
        if self._shown:
            picture = self.picture
            self._shown.leave(picture.image, self._words(), self._table(), picture.width)
        return self.recording

    def _start_again(self) -> None:
        async def download() -> Recording:
            try:
                return await self._download()
            except LabError as error:  # the sandboxes may be closed by now
                self.picture.status = str(error)
            return self.recording

        self._again = asyncio.ensure_future(download())

    def _set(self, megabytes_per_second: float) -> None:
        self.sender.net.shape(LINK, megabytes_per_second * MEGABYTE)

    def _words(self) -> str:
        return f"A download against its limit. {now(self.recording)}"

    def _table(self) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = [("seconds", "limit, MB/s", "received, MB")]
        for each in self.recording.readings[::6]:
            limit = (each.limit_bytes_per_second or 0) / MEGABYTE
            received = each.received_bytes / MEGABYTE
            rows.append((f"{each.at_seconds:.1f}", f"{limit:g}", f"{received:.2f}"))
        return rows
