"""What is read from a group at one moment: its usage, its limits, its files; plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rates:
    """Bytes per second from and to a disk; None: no limit."""

    read: int | None = None
    write: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a group uses, as the kernel counts it. None: no such controller, or no such counter.

    Bytes and seconds; `pids` counts tasks (threads, too), as the kernel does. Memory includes the
    page cache that the group's programs filled. Counters (`cpu_seconds`, `periods`, `oom_kills`,
    `pids_refused`, …) count from the group's beginning.

    A period is 100 ms. It counts in `periods` if anything wanted to run in it, and in
    `throttled_periods` if the group had to stand still for the rest of it.
    """

    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    swap_bytes: int | None = None
    oom_kills: int | None = None
    cpu_seconds: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    pids: int | None = None
    pids_refused: int | None = None
    io_read_bytes: int | None = None
    io_written_bytes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a group may use, as read back from the kernel. None: no limit (or no controller).

    `cpu` is in shares of one CPU, `cpu_weight` is 1 to 10000 (100 is everybody's default), `io`
    maps a device's number (`"7:0"`) to its rates.
    """

    memory_bytes: int | None = None
    swap_bytes: int | None = None
    pids: int | None = None
    cpu: float | None = None
    cpu_weight: int | None = None
    io: Mapping[str, Rates] = field(default_factory=dict)
