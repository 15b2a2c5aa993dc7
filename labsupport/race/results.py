"""What the race measured, as plain data: one entrant for each way to run the app."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BreakOut:
    """What the app got at from where it ran; each is what the host found afterwards, or read."""

    reads_file: bool
    changes_file: bool
    sees_process: bool
    ends_process: bool
    own_hostname: bool
    own_kernel: bool


@dataclass(frozen=True)
class Entrant:
    """One way to run the app, and what it took.

    `starts` are seconds to the first answer, one for each start; `memory` bytes at each of them.
    `page` is what the app said of its surroundings, `why_not` why there is none.
    """

    name: str
    why_not: str = ""
    starts: tuple[float, ...] = ()
    memory: tuple[int, ...] = ()
    disk_bytes: int = 0
    disk_words: str = ""
    set_up_seconds: float = 0.0
    set_up_words: str = ""
    page: Mapping[str, Any] = field(default_factory=dict)
    got: BreakOut | None = None
    running_seconds: float | None = None
    """Since when the app has been awaited, while it is."""

    @property
    def seconds(self) -> float:
        """The median of its starts, in seconds; 0 if there is none yet."""
        return statistics.median(self.starts) if self.starts else 0.0

    @property
    def memory_bytes(self) -> float:
        """The median of the memory that it took; 0 if that is not known."""
        return statistics.median(self.memory) if self.memory else 0.0


def time_in_words(seconds: float) -> str:
    """Write a time: `42 ms`, `1.9 s`, `23 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def bytes_in_words(amount: float) -> str:
    """Write an amount: `0`, `9 kB`, `5.0 MB`, `382 MB`; a kB is 1000 bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= size:
            number = amount / size
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{amount:.0f} B" if amount else "0"
