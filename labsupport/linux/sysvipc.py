"""Shared memory segments of System V IPC, as an IPC namespace lists them; sysvipc(7).

The file /proc/sysvipc/shm shows the namespace of whoever opens it: so a sandbox is asked by a
program inside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labsupport.completed import Completed

FILE = "/proc/sysvipc/shm"


class Runs(Protocol):
    """What is needed of a sandbox: that programs can run in it."""

    def run(self, argv: Sequence[str | os.PathLike[str]]) -> Completed: ...


@dataclass(frozen=True)
class Segment:
    """A segment: its key and number, its size, who made it (a PID there), how many have it mapped.

    `maker_pid` is 0 where that process is not to be seen.
    """

    key: int
    id: int
    size_bytes: int
    maker_pid: int
    attached: int

    def __repr__(self) -> str:
        by = f"made by PID {self.maker_pid}, " if self.maker_pid else ""
        return f"<segment {self.id}: {self.size_bytes} bytes, {by}mapped by {self.attached}>"


def segments(of: Runs | None = None) -> list[Segment]:
    """List the segments that a sandbox sees, or this notebook."""
    text = Path(FILE).read_text() if of is None else of.run(["cat", FILE]).stdout
    heading, *lines = text.splitlines()
    names = heading.split()
    rows = (dict(zip(names, map(int, line.split()), strict=True)) for line in lines)
    return [
        Segment(row["key"], row["shmid"], row["size"], row["cpid"], row["nattch"]) for row in rows
    ]
