"""User numbers on both sides of a user namespace, and whose a file is; user_namespaces(7).

A map is read from /proc/PID/uid_map: lines of "first number inside, first number outside, how
many". Whom the map does not know shows up inside as the overflow user, 65534, called nobody. In the
picture a file's arrow is dashed unless its user *and* its group are mapped: only then does a
capability inside count for the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.kernel import procfs
from labsupport.sandbox.sandbox import Sandbox

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

    def inside(self, outside: int) -> int | None:
        """The number by which `outside` is known inside; None: it is not (it is shown as 65534)."""
        for line in self.lines:
            if 0 <= outside - line.outside < line.count:
                return line.inside + outside - line.outside
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
    return _map(pid, "uid_map")


def gid_map(pid: int | str = "self") -> IdMap:
    """Read the group map; as `uid_map`."""
    return _map(pid, "gid_map")


def _map(pid: int | str, file: str) -> IdMap:
    with procfs.readable(pid):
        return IdMap.parse(Path(f"/proc/{pid}/{file}").read_text())


def ordinary_uid() -> int:
    """Yourself, if you are an ordinary user; else a number without any privileges."""
    return os.geteuid() or UNPRIVILEGED


def _span(first: int, count: int) -> str:
    return f"{first} to {first + count - 1}" if count > 1 else str(first)


@dataclass(frozen=True)
class Owned:
    """A file's user and group, "60000:0", outside and as stat(1) inside said; who is mapped."""

    name: str
    outside: str
    inside: str
    user: bool
    group: bool

    @property
    def known(self) -> str:
        """Say which of its two numbers the maps know."""
        mapped = (("user", self.user), ("group", self.group))
        return " and ".join(name for name, yes in mapped if yes) or "neither"


class FileOwners:
    """The owners of `paths`, outside by stat(2), inside `box` by stat(1), with the maps between."""

    def __init__(self, box: Sandbox, paths: Iterable[str | os.PathLike[str]]) -> None:
        found = [Path(path) for path in paths]
        told = box.run(["stat", "--format=%u:%g", *found]).stdout.split()
        self.users, self.groups = uid_map(box.pid), gid_map(box.pid)
        self.files = [self._owned(path, told) for path, told in zip(found, told, strict=True)]

    def _owned(self, path: Path, inside: str) -> Owned:
        stat = path.stat()
        user, group = self.users.inside(stat.st_uid), self.groups.inside(stat.st_gid)
        outside = f"{stat.st_uid}:{stat.st_gid}"
        return Owned(path.name, outside, inside, user is not None, group is not None)

    def draw(self) -> None:
        """Show both sides."""
        page(self.files, self.users).show(words(self.files), table(self.files))


INCHES = 9.2
HIGH, GAP, TOP = 6.0, 2.2, 16.4
OUTSIDE, INSIDE, WIDE = 38.0, 78.0, 17.0  # left edges of the numbers, and their width
MAP = 66.5  # the middle of the maps


def finding(files: Sequence[Owned]) -> str:
    """Say in one line what the picture shows."""
    both = [each for each in files if each.user and each.group]
    if not both:
        return "No file whose user and group the maps both know"
    return f"One file, two owners: {both[0].outside} outside is {both[0].inside} inside"


def words(files: Sequence[Owned]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [
        f"{each.name} belongs to {each.outside} outside, to {each.inside} inside; "
        f"mapped: {each.known}."
        for each in files
    ]
    return " ".join([f"{finding(files)}.", *parts])


def table(files: Sequence[Owned]) -> list[tuple[object, ...]]:
    """The same as rows."""
    head = ("file", "user:group outside", "user:group inside", "in the maps")
    return [head, *((each.name, each.outside, each.inside, each.known) for each in files)]


def page(files: Sequence[Owned], ids: IdMap) -> Page:
    """Draw the numbers that the host knows, those seen inside, and the map between them."""
    high = TOP + len(files) * (HIGH + GAP) + 1.5
    sheet = Page(high, finding(files), inches=INCHES)
    for left, wide, label, colour in (
        (0.8, 56.4, "the host", style.HOST),
        (76.4, 22.8, "inside", style.FIRST),
    ):
        sheet.box(left, 8.6, wide, high - 10, colour)
        tab = {"facecolor": style.PAPER, "edgecolor": colour, "pad": 2.2}
        sheet.text(left + 1.6, 8.6, label, bold=True, bbox=tab)
    for left, caption in ((2.4, "file"), (OUTSIDE, "user:group"), (INSIDE, "user:group")):
        sheet.text(left, TOP - 2.6, caption)
    sheet.text(MAP, 8.6, "the map", "body", bold=True, centre=True)
    lines = "\n".join(f"{line.inside} {line.outside} {line.count}" for line in ids.lines)
    sheet.text(MAP, 10.6, lines or "(empty)", "body", mono=True, centre=True, va="top")
    dotted = ((MAP, TOP - 0.4), (MAP, high - 1.5))
    sheet.line(*dotted, colour=style.SHARED, linewidth=1, linestyle=":")
    for row, each in enumerate(files):
        _draw_file(sheet, each, TOP + row * (HIGH + GAP))
    return sheet


def _draw_file(sheet: Page, each: Owned, top: float) -> None:
    middle, both = top + HIGH / 2, each.user and each.group
    sheet.text(2.4, middle, each.name, "body")
    colour = style.FIRST if both else style.SHARED
    way = ((OUTSIDE + WIDE + 0.4, middle), (INSIDE - 0.2, middle))
    sheet.arrow(*way, colour, linewidth=2.4, linestyle="solid" if both else "dashed")
    for left, text, edge in ((OUTSIDE, each.outside, style.HOST), (INSIDE, each.inside, colour)):
        sheet.box(left, top, WIDE, HIGH, edge, fill=style.PAPER, linewidth=2)
        sheet.text(left + WIDE / 2, middle, text, "body", bold=True, centre=True)
