"""A real download, and how much of it came in, by the kernel's own counter of the link."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from labsupport.errors import NoAnswer
from labsupport.linux.net import netstate

if TYPE_CHECKING:
    from labsupport.linux.sandbox import Sandbox

WINDOW_SECONDS = 0.25


@dataclass(frozen=True)
class Reading:
    """`received_bytes` had come in `at_seconds` after the beginning; `limit` was then in force."""

    at_seconds: float
    received_bytes: int
    limit_bytes_per_second: int | None = None


@dataclass(frozen=True)
class Recording:
    """The readings of one download."""

    readings: tuple[Reading, ...]

    def bytes_per_second(self, after: float = 0.5) -> float:
        """The mean rate from `after` seconds on, when the bucket's first burst is gone."""
        used = [reading for reading in self.readings if reading.at_seconds >= after]
        first, last = used[0], used[-1]
        return (last.received_bytes - first.received_bytes) / (last.at_seconds - first.at_seconds)

    def curve(self, window: float = WINDOW_SECONDS) -> list[tuple[float, float]]:
        """The rate over time: (seconds, bytes per second), each the mean of a window before it."""
        return curve(self.readings, window)


def curve(readings: Sequence[Reading], window: float = WINDOW_SECONDS) -> list[tuple[float, float]]:
    """Turn a counter into a rate over time."""
    found, first = [], 0
    for reading in readings:
        while readings[first].at_seconds < reading.at_seconds - window:
            first += 1
        before = readings[max(0, first - 1)]
        if seconds := reading.at_seconds - before.at_seconds:
            rate = (reading.received_bytes - before.received_bytes) / seconds
            found.append((reading.at_seconds, rate))
    return found


class Download:
    """wget(1) in `receiver` fetches a file; use it in a `with` block and call `read()` in it.

    `sender` is whose token bucket the readings tell beside. Links are named `link` in both.
    """

    def __init__(self, receiver: Sandbox, url: str, sender: Sandbox, link: str = "eth0") -> None:
        self.receiver, self.sender, self.url = receiver, sender, url
        self._index = receiver.net.link(link).index
        self._sending = sender.net.link(link).index
        self.readings: list[Reading] = []

    def __enter__(self) -> Self:
        argv = ["busybox", "wget", "-q", "-O", "/dev/null", self.url]
        self.process = self.receiver.start(argv)
        self._began = time.monotonic()
        self._first = netstate.received_bytes(self.receiver.net.kernel, self._index)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def read(self) -> Reading:
        """Read the counter, and the limit, now.

        Raises:
            NoAnswer: the download has ended.

        """
        if self.process.returncode is not None:
            raise NoAnswer(f"the download {self.process.ending}", self.process.errors.strip())
        limit = netstate.rates(self.sender.net.kernel).get(self._sending)
        received = netstate.received_bytes(self.receiver.net.kernel, self._index)
        now = time.monotonic() - self._began
        self.readings.append(Reading(now, received - self._first, limit))
        return self.readings[-1]

    @property
    def recording(self) -> Recording:
        """What has been read so far."""
        return Recording(tuple(self.readings))


def download(
    receiver: Sandbox, url: str, sender: Sandbox, seconds: float = 3, pause: float = 0.05
) -> Recording:
    """Download for some seconds and record how it went."""
    with Download(receiver, url, sender) as running:
        while running.read().at_seconds < seconds:
            time.sleep(pause)
    return running.recording
