"""The neighbour of a noisy program: a small database whose answers are timed, as a client sees it.

Redis answers one question after the other on a Unix socket. Each question makes it sort some
thousand numbers, which takes a few milliseconds of CPU time: what a noisy neighbour takes away.
"""

from __future__ import annotations

import random
import socket
import statistics
import time
from dataclasses import dataclass
from typing import Self

from labsupport.errors import TimedOut
from labsupport.linux.cgroups import Cgroup
from labsupport.linux.sandbox import Sandbox
from labsupport.servers import database

NUMBERS = 10_000  # sorting them takes 2 to 3 ms
PAUSE_SECONDS = 0.002  # between two questions: a CPU that is never idle has no neighbours
PATIENCE_SECONDS = 10.0
WARM_UP = 5  # questions that are not counted


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
    def mean(self) -> float:
        """The average, in seconds."""
        return statistics.mean(self.seconds)

    @property
    def p99(self) -> float:
        """99 of 100 answers took no longer, in seconds."""
        return sorted(self.seconds)[max(0, -(-len(self.seconds) * 99 // 100) - 1)]

    def __repr__(self) -> str:
        return (
            f"<{self.label}: {len(self.seconds)} answers, median {1000 * self.median:.1f} ms, "
            f"99 % within {1000 * self.p99:.1f} ms>"
        )


class Neighbour:
    """A database in a sandbox: `with Neighbour() as neighbour: neighbour.measure("alone")`.

    Args:
        group: the control group that its server runs in; None: that of this notebook.

    """

    def __init__(self, group: Cgroup | None = None) -> None:
        self.group = group

    def open(self) -> Self:
        """Start the server, and give it something to sort."""
        self._server = database()
        self._box = Sandbox(new={"pid"}, cgroup=self.group).open()
        try:
            self._box.start(self._server.argv)
            self._server.ask()
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(PATIENCE_SECONDS)
            self._connection.connect(str(self._server.address))
            chosen = random.Random(1)
            self._ask("RPUSH", "numbers", *(str(chosen.random()) for _ in range(NUMBERS)))
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the server; may be called twice."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if hasattr(self, "_box"):
            self._box.close()
            self._server.folder.cleanup()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(self, label: str, seconds: float = 1.5) -> ResponseTimes:
        """Ask for so many seconds, one question after the other, and time each answer.

        Raises:
            TimedOut: it did not answer within ten seconds.

        """
        for _ in range(WARM_UP):
            self._sort()
        times: list[float] = []
        end = time.monotonic() + seconds
        while not times or time.monotonic() < end:
            began = time.perf_counter()
            self._sort()
            times.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
        return ResponseTimes(label, tuple(times))

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
