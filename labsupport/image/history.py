"""An image's history: which instruction made a layer, how large, and what share that is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from labsupport.build.log import instruction, is_ours
from labsupport.errors import LabError
from labsupport.figure.table import UNITS, PlainTable, Tabled, amount
from labsupport.image.image import Image

_SIZE = re.compile(r"([\d.]+)\s*([kMGT]?B)")


@dataclass(frozen=True)
class Line:
    """An instruction and the bytes it added; `layer` is its layer's number, if it is known to be.

    `None` stands for "none", 0 for "not told": `docker history` does not say which lines of 0 bytes
    made a layer.
    """

    instruction: str
    size_bytes: int
    layer: int | None = 0


@dataclass(frozen=True, repr=False)
class History(Tabled):
    """An image's history, in the order of the Dockerfile; our own label is left out of it.

    So one that somebody else has printed (the lecture's) can be compared with our own.
    """

    name: str
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, name: str, image: Image) -> History:
        """Return an image's history, which tells of each line whether it made a layer."""
        lines = []
        for step in image.history:
            size, number = (step.layer.size_bytes, step.layer.number) if step.layer else (0, None)
            if not is_ours(step.created_by):
                lines.append(Line(instruction(step.created_by), size, number))
        return cls(name, tuple(lines))

    @classmethod
    def printed(cls, name: str, path: str | Path) -> History:
        """Read one from a file: JSON with "history", as `docker history` prints it.

        Raises `LabError`: there is no such list in it, or something that is not a size.
        """
        try:
            rows = json.loads(Path(path).read_text(encoding="utf-8"))["history"]
            lines = [Line(instruction(row["created_by"]), _bytes_of(row["size"])) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            wanted = 'wanted: {"history": [{"created_by": …, "size": …}]}'
            raise LabError(f"{path} holds no history", str(error), wanted) from error
        return cls(name, tuple(reversed(lines)))

    @property
    def size_bytes(self) -> int:
        return sum(line.size_bytes for line in self.lines)

    @property
    def largest(self) -> Line:
        return max(self.lines, key=lambda line: line.size_bytes)

    def share(self, line: Line) -> float:
        """Return the percentage that a line has of all bytes."""
        return 100 * line.size_bytes / max(1, self.size_bytes)

    @property
    def table(self) -> PlainTable:
        share = f"{self.share(self.largest):.0f} %"
        return PlainTable(
            f"{self.name}: {amount(self.size_bytes)}, {share} of it in one layer",
            ("instruction", "layer", "size", "share"),
            tuple(map(self._row, self.lines)),
        )

    def _row(self, line: Line) -> tuple[str, ...]:
        layer = "none" if line.layer is None else str(line.layer or "")
        return line.instruction, layer, amount(line.size_bytes), f"{self.share(line):.1f} %"


def _bytes_of(size: str) -> int:
    """Return the bytes of a size as engines print it, such as 6.66MB; or raise `ValueError`."""
    if not (found := _SIZE.fullmatch(size.strip())):
        raise ValueError(f"{size!r} is not a size")
    return round(float(found[1]) * float(1000 ** UNITS.index(found[2])))
