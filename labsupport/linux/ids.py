"""User and group numbers on both sides of a user namespace; user_namespaces(7).

A map is read from /proc/PID/uid_map: lines of "first number inside, first number outside, how
many". Whom the map does not know shows up inside as the overflow user, 65534, called nobody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import NotAnIdMap, ProcessGone

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
        """Read the text of a uid_map or gid_map file.

        Raises:
            NotAnIdMap: a line is not three numbers; it says which.

        """
        return cls(tuple(_line(line) for line in text.splitlines() if line.strip()))

    def outside(self, inside: int) -> int | None:
        """The number that `inside` stands for; None: it stands for nobody."""
        for line in self.lines:
            if 0 <= inside - line.inside < line.count:
                return line.outside + inside - line.inside
        return None

    def inside(self, outside: int) -> int | None:
        """The number by which `outside` is known inside; None: it is not (see `overflow`)."""
        for line in self.lines:
            if 0 <= outside - line.outside < line.count:
                return line.inside + outside - line.outside
        return None

    def seen(self, outside: int) -> int:
        """What stat(2) inside says of a file of `outside`."""
        known = self.inside(outside)
        return overflow() if known is None else known

    def __repr__(self) -> str:
        parts = []
        for line in self.lines:
            last = line.count - 1
            inside = f"{line.inside} to {line.inside + last}" if last else str(line.inside)
            outside = f"{line.outside} to {line.outside + last}" if last else str(line.outside)
            parts.append(f"{inside} inside is {outside} outside")
        return f"<{'; '.join(parts) or 'nobody is mapped'}>"


def uid_map(pid: int | str = "self") -> IdMap:
    """Read the user map of a process's user namespace.

    Raises:
        ProcessGone: there is no such process.

    """
    return IdMap.parse(_read(pid, "uid_map"))


def gid_map(pid: int | str = "self") -> IdMap:
    """Read the group map of a process's user namespace."""
    return IdMap.parse(_read(pid, "gid_map"))


def overflow() -> int:
    """The number shown for whom a map does not know."""
    return int(Path("/proc/sys/kernel/overflowuid").read_text())


def ordinary_uid() -> int:
    """Yourself, if you are an ordinary user; else a number without any privileges."""
    return os.geteuid() or UNPRIVILEGED


def _line(text: str) -> Line:
    words: Sequence[str] = text.split()
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        raise NotAnIdMap(text.strip())
    return Line(*map(int, words))


def _read(pid: int | str, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessGone(f"process {pid} cannot be read", "it has ended, or never was") from error
