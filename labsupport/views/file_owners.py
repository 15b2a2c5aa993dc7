"""Ask both sides of a user namespace who owns some files, and draw the answers."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from labsupport.completed import Completed
from labsupport.linux.ids import uid_map
from labsupport.views import owners, style

WIDTH = 9.2  # inches


class Inside(Protocol):
    """What is needed of a sandbox: its PID 1, and that programs can run in it."""

    @property
    def pid(self) -> int: ...
    def run(self, argv: Sequence[str | os.PathLike[str]]) -> Completed: ...


class FileOwners:
    """The owners of `paths`, outside by stat(2), inside `box` by stat(1), with the map between."""

    def __init__(self, box: Inside, paths: Iterable[str | os.PathLike[str]]) -> None:
        found = [Path(path) for path in paths]
        told = box.run(["stat", "--format=%u %U", *found]).stdout.splitlines()
        self.ids = uid_map(box.pid)
        self.files = [_owned(path, line) for path, line in zip(found, told, strict=True)]

    def draw(self) -> None:
        """Show both sides."""
        height = WIDTH * owners.needed_height(len(self.files)) / 100
        figure = style.new_figure(WIDTH, height)
        owners.draw_owners(figure.add_axes((0, 0, 1, 1)), self.files, self.ids)
        style.show(figure, owners.words(self.files, self.ids), owners.table(self.files, self.ids))


def _owned(path: Path, told: str) -> owners.Owned:
    number, _, name = told.partition(" ")
    outside = path.stat().st_uid
    shown = str(path) if len(str(path)) < 20 else path.name
    return owners.Owned(shown, outside, _name(outside), int(number), name)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "no name"
