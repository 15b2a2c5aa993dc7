"""An image's history: which instruction made a layer, how large, and what share that is.

A history is a table, so that one that somebody else has printed (the lecture's) can stand beside
one's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from labsupport.engine.images import Image
from labsupport.errors import NotAHistory
from labsupport.views import style
from labsupport.views.amounts import UNITS, amount
from labsupport.views.instructions import instruction, is_ours
from labsupport.views.layers import instruction_in_short

WIDTH = 9.2  # inches
COLOURS = (style.SHARED, style.FIRST)
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


@dataclass(frozen=True)
class History:
    """A history under a name, in the order of the Dockerfile."""

    name: str
    lines: tuple[Line, ...]

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(line.size_bytes for line in self.lines)

    @property
    def largest(self) -> Line:
        """The line that added most."""
        return max(self.lines, key=lambda line: line.size_bytes)

    def share(self, line: Line) -> float:
        """Return the percentage that a line has of all bytes."""
        return 100 * line.size_bytes / max(1, self.size_bytes)


def of_image(name: str, image: Image) -> History:
    """Return an image's history; our own label in it is left out."""
    return History(
        name,
        tuple(
            Line(
                instruction(step.created_by),
                step.layer.size_bytes if step.layer else 0,
                step.layer.number if step.layer else None,
            )
            for step in image.history
            if not is_ours(step.created_by)
        ),
    )


def of_table(name: str, path: str | Path) -> History:
    """Read one from a file: JSON with "history", the newest first, as `docker history` prints it.

    Raises:
        NotAHistory: there is no such list in it, or a size that is none.

    """
    try:
        steps = json.loads(Path(path).read_text())["history"]
        lines = [Line(instruction(step["created_by"]), bytes_of(step["size"])) for step in steps]
    except (KeyError, TypeError, ValueError) as error:
        raise NotAHistory(str(path), str(error)) from error
    return History(name, tuple(reversed(lines)))


def bytes_of(size: str) -> int:
    """Return the bytes of a size as engines print it, such as 6.66MB; `ValueError` if none."""
    if not (found := _SIZE.fullmatch(size.strip())):
        raise ValueError(f"{size!r} is no size")
    unit: int = 1000 ** UNITS.index(found[2])
    return round(float(found[1]) * unit)


def finding(shown: Sequence[History]) -> str:
    """Say in one line what the picture shows."""
    shares = [f"{history.share(history.largest):.0f} % ({history.name})" for history in shown]
    return f"The largest layer has {' and '.join(shares)}"


def words(shown: Sequence[History]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(shown)}."]
    for history in shown:
        lines = "; ".join(
            f"{instruction_in_short(line.instruction)}: {amount(line.size_bytes)}, "
            f"{history.share(line):.1f} %"
            for line in history.lines
            if line.size_bytes
        )
        nothing = sum(not line.size_bytes for line in history.lines)
        parts.append(f"{history.name}: {lines}; and {nothing} instructions of 0 bytes.")
    return " ".join(parts)


def table(shown: Sequence[History]) -> list[tuple[object, ...]]:
    """The same as rows, all instructions, in the order of the Dockerfile."""
    head = ("image", "instruction", "size", "share", "layer")
    return [
        head,
        *(
            (
                history.name, line.instruction, amount(line.size_bytes),
                f"{history.share(line):.1f} %", _layer(line),
            )
            for history in shown
            for line in history.lines
        ),
    ]  # fmt: skip


def _layer(line: Line) -> str:
    return "none" if line.layer is None else str(line.layer or "")


# ---- shares, one history beside another


def draw_shares(axes: Axes, shown: Sequence[History], title: str = "") -> None:
    """Draw what each instruction has of its image, the newest at the top, into all of a figure."""
    high = shares_height(shown)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.5, 3.2, title or finding(shown), size=style.size("title"), weight="bold",
              va="center")  # fmt: skip
    wide = 98.0 / len(shown)
    for place, history in enumerate(shown):
        left = 1.5 + place * wide
        heading = f"{history.name}: {amount(history.size_bytes)}"
        axes.text(left, 9.0, heading, size=style.size("body"), va="center")
        lines = [line for line in reversed(history.lines) if line.size_bytes]
        for number, line in enumerate(lines):
            top = high - 5.2 - (len(lines) - number) * 7.0
            _draw_share(axes, history, line, (left, top, wide - 2.5), COLOURS[place % 2])
        nothing = sum(not line.size_bytes for line in history.lines)
        axes.text(left, high - 2.4, f"and {nothing} instructions of 0 bytes",
                  size=style.size("small"), va="center")  # fmt: skip


def shares_height(shown: Sequence[History]) -> float:
    """How high a page, 100 units wide, `draw_shares` needs."""
    most = max(sum(line.size_bytes > 0 for line in history.lines) for history in shown)
    return 11.5 + most * 7.0 + 5.2


def _draw_share(
    axes: Axes, history: History, line: Line, place: tuple[float, float, float], colour: str
) -> None:
    left, top, wide = place
    is_largest = line is history.largest
    short = instruction_in_short(line.instruction, int(wide / 1.02))
    axes.text(left, top + 1.6, short, size=style.size("small"), family="monospace", va="center")
    length = max(0.3, wide * 0.6 * history.share(line) / 100)
    axes.add_artist(
        Rectangle((left, top + 3.1), length, 2.3, facecolor=colour, edgecolor=style.INK,
                  linewidth=1.4 if is_largest else 0)
    )  # fmt: skip
    said = f"{amount(line.size_bytes)}, {history.share(line):.0f} %"
    axes.text(left + length + 1, top + 4.3, said, size=style.size("small"), va="center",
              weight="bold" if is_largest else "normal")  # fmt: skip


def show_shares(*shown: History) -> None:
    """Show what each instruction has of its image, one history beside the other."""
    figure = style.new_figure(WIDTH, WIDTH * shares_height(shown) / 100)
    draw_shares(figure.add_axes((0, 0, 1, 1)), shown)
    style.show(figure, words(shown), table(shown))


# ---- instructions, and the layers they made


def made(history: History) -> str:
    """Say in one line how many instructions made how many layers."""
    layers = sum(line.layer is not None for line in history.lines)
    return f"{len(history.lines)} instructions made {layers} layers"


def draw_made(axes: Axes, history: History) -> None:
    """Draw instructions on the left and their layers on the right, as in the Dockerfile."""
    high = made_height(history)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.5, 3.2, made(history), size=style.size("title"), weight="bold", va="center")
    for number, line in enumerate(history.lines):
        middle = 9.4 + number * 4.4
        axes.text(2, middle, instruction_in_short(line.instruction, 62), size=style.size("small"),
                  family="monospace", va="center",
                  color=style.INK if line.layer else "#5A5A5A")  # fmt: skip
        if line.layer is None:
            axes.text(74, middle, "no layer: settings only", size=style.size("small"), va="center",
                      color="#5A5A5A", style="italic")  # fmt: skip
            continue
        axes.plot([65.5, 72], [middle] * 2, color=style.FIRST, linewidth=2)
        axes.add_artist(
            FancyBboxPatch((72.5, middle - 1.3), 25, 2.6, boxstyle="round,pad=0.4", linewidth=1.6,
                           facecolor=style.FIRST + "33", edgecolor=style.FIRST)
        )  # fmt: skip
        axes.text(74, middle, f"layer {line.layer}, {amount(line.size_bytes)}",
                  size=style.size("small"), va="center", weight="bold")  # fmt: skip


def made_height(history: History) -> float:
    """How high a page, 100 units wide, `draw_made` needs."""
    return 9.4 + len(history.lines) * 4.4


def show_made(history: History) -> None:
    """Show which instructions made layers."""
    figure = style.new_figure(WIDTH, WIDTH * made_height(history) / 100)
    draw_made(figure.add_axes((0, 0, 1, 1)), history)
    said = "; ".join(
        f"{instruction_in_short(line.instruction)}: "
        + ("no layer" if line.layer is None else f"layer {line.layer}, {amount(line.size_bytes)}")
        for line in history.lines
    )
    style.show(figure, f"{made(history)}. {said}.", table([history]))
