"""User numbers on both sides of a user namespace; user_namespaces(7).

A map is read from /proc/PID/uid_map: lines of "first number inside, first number outside, how
many". Whom the map does not know shows up inside as the overflow user, 65534, called nobody.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labsupport.kernel import procfs

UNPRIVILEGED = 60_000  # a number that Debian gives to nobody: its users end at 59,999


@dataclass(frozen=True)
class Line:
    """One line of a map: `count` numbers from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True)
class IdMap:
    """The map of a user namespace, as its parent namespace's side reads it."""

    lines: tuple[Line, ...]

    @classmethod
    def parse(cls, text: str) -> IdMap:
        """Read the text of a uid_map or gid_map file."""
        return cls(tuple(Line(*map(int, line.split())) for line in text.splitlines()))

    def outside(self, inside: int) -> int | None:
        """The number that `inside` stands for; None: it stands for nobody."""
        for line in self.lines:
            if 0 <= inside - line.inside < line.count:
                return line.outside + inside - line.inside
        return None

    def __repr__(self) -> str:
        parts = [
            f"{_span(line.inside, line.count)} inside is {_span(line.outside, line.count)} outside"
            for line in self.lines
        ]
        return f"<{'; '.join(parts) or 'nobody is mapped'}>"


def uid_map(pid: int | str = "self") -> IdMap:
    """Read the user map of a process's user namespace.

    Raises `ProcessGone`: there is no such process.
    """
    with procfs.readable(pid):
        return IdMap.parse(Path(f"/proc/{pid}/uid_map").read_text())


def ordinary_uid() -> int:
    """Yourself, if you are an ordinary user; else a number without any privileges."""
    return os.geteuid() or UNPRIVILEGED


def _span(first: int, count: int) -> str:
    return f"{first} to {first + count - 1}" if count > 1 else str(first)
