"""Downloads against the limit of a token bucket, measured by the link's counter.

The kernel's own counter of the receiving link says how much has come in.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Self

from labsupport.errors import NoAnswer
from labsupport.kernel import netlink
from labsupport.sandbox.sandbox import Sandbox

LINK = "eth0"
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Reading:
    """`received_bytes` had come in `at_seconds` after the beginning.

    `waiting_bytes` were then in the bucket's queue.
    """

    at_seconds: float
    received_bytes: int
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
        """The share of the readings, after the first half second, at which packets waited.

        As long as some do, it is the bucket that holds the download up.
        """
        used = [each for each in self.readings if each.at_seconds >= WARM_UP_SECONDS]
        return sum(each.waiting_bytes > 0 for each in used) / len(used)


class Download:
    """wget(1) in `receiver` fetches a file; use it in a `with` block and call `read()` in it.

    The readings also tell what waits in `sender`'s token bucket. The link is eth0 in both.
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
        """Read the counter, and the bucket, now.

        Raises `NoAnswer`: the download has ended.
        """
        if self.process.returncode is not None:
            raise NoAnswer(f"the download {self.process.ending}", self.process.errors.strip())
        received, bucket = self._count()
        now = time.monotonic() - self._began
        waiting = bucket.waiting_bytes if bucket else 0
        self.readings.append(Reading(now, received - self._first, waiting))
        return self.readings[-1]

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
