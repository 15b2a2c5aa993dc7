"""The neighbour of a noisy program: a small database whose answers are timed as a client sees them.

Redis answers one question after the other on a Unix socket. Each question makes it sort some
thousand numbers, which takes a few milliseconds of CPU time: what a noisy neighbour takes away.
"""

import random
import socket
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar, Self

from labsupport.cgroup.group import Cgroup
from labsupport.errors import TimedOut
from labsupport.net.servers import database
from labsupport.ownership.marks import Opening
from labsupport.sandbox.sandbox import Sandbox

NUMBERS = 10_000  # sorting them takes 2 to 3 ms
LONGEST_SECONDS = 0.025  # a computer that sorts them more slowly is given fewer
QUESTION = ("SORT", "numbers", "LIMIT", "0", "1")
PAUSE_SECONDS = 0.002  # between two questions: a CPU that is never idle has no neighbours
PATIENCE_SECONDS = 10.0
WARM_UP = 5  # questions that are not counted
FEWEST = 40  # answers, so that some late ones are not what nine of ten keep to


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
            f"{self.label}: {len(self.seconds)} answers, half within "
            f"{milliseconds(self.median)}, 90 % within {milliseconds(self.p90)}"
        )


class Neighbour(Opening):
    """A database in a sandbox: `with Neighbour() as neighbour: neighbour.measure("alone")`.

    Args:
        group: the control group that its server runs in; None: that of this notebook.

    """

    numbers: ClassVar[int] = 0
    """How many are sorted; the first neighbour finds it out, so that all are asked the same."""

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
            Neighbour.numbers = Neighbour.numbers or self._fitting()
            self._ask("LTRIM", "numbers", "0", str(self.numbers - 1))
            self._ends = ends.pop_all()
        return self

    def close(self) -> None:
        """End the server; may be called twice."""
        self._ends.close()

    def measure(self, label: str, seconds: float = 2.0) -> ResponseTimes:
        """Ask one question after another for `seconds`, and time each answer. Raises `TimedOut`."""
        return together({label: self}, seconds)[0]

    def _fitting(self) -> int:
        taken = min(self._timed() for _ in range(3))
        return int(NUMBERS * min(1, LONGEST_SECONDS / taken))

    def _timed(self) -> float:
        began = time.perf_counter()
        self._ask(*QUESTION)
        return time.perf_counter() - began

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

    It takes `seconds`, and longer where there are fewer than forty answers by then.
    Raises `TimedOut`.
    """
    for _ in range(WARM_UP):
        for each in neighbours.values():
            each._ask(*QUESTION)
    times: dict[str, list[float]] = {label: [] for label in neighbours}
    end = time.monotonic() + seconds
    while min(map(len, times.values())) < FEWEST or time.monotonic() < end:
        for label, each in neighbours.items():
            times[label].append(each._timed())
            time.sleep(PAUSE_SECONDS)
    return [ResponseTimes(label, tuple(taken)) for label, taken in times.items()]


def milliseconds(seconds: float) -> str:
    """Write a time in milliseconds, with two digits that count."""
    ms = 1000 * seconds
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"
