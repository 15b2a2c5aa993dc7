"""What an engine starts, and what comes of it: ENTRYPOINT downwards, CMD and arguments across."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.engine.starts import Start, form
from labsupport.views import style

WIDTH = 10.0  # inches
TOP, BOTTOM, ROW, GAP = 15.4, 4.6, 14.2, 1.2  # on a page 100 units wide
LEFT = 21.0
_ARGV, _SAID, _LARGE = 26, 27, 18  # characters in a line


def finding(starts: Sequence[Start]) -> str:
    """Say in one line what the picture shows."""
    said = {
        word: [each.said for each in starts if form(each.entrypoint) == word and each.pid]
        for word in ("exec", "shell")
    }
    shell, exec_ = said["shell"], said["exec"]
    if len(shell) > 1 and len(set(shell)) == 1 and len(set(exec_)) > 1:
        return f"ENTRYPOINT in shell form swallows all the rest: “{shell[0]}”, {len(shell)} times"
    failed = sum(each.ran.status != 0 for each in starts)
    return f"{len(starts)} ways to start a program; {failed} fail"


def words(starts: Sequence[Start]) -> str:
    """Say all of it: the picture's text alternative."""
    told = [
        f"{each.entrypoint or 'No ENTRYPOINT'}, {each.cmd}{_with(each)}: {_argv(each)} is started, "
        f"“{each.said}”, {_who(each)}."
        for each in starts
    ]
    return " ".join([f"{finding(starts)}.", *told])


def table(starts: Sequence[Start]) -> list[tuple[object, ...]]:
    """A row for each start."""
    head = ("ENTRYPOINT", "CMD", "arguments", "is started", "says", "exit status", "who is PID 1")
    return [
        head,
        *(
            (each.entrypoint.partition(" ")[2], each.cmd.partition(" ")[2],
             " ".join(each.arguments), _argv(each), each.said, each.ran.status,
             each.first or "nobody")
            for each in starts
        ),
    ]  # fmt: skip


def _with(each: Start) -> str:
    return f", argument {' '.join(each.arguments)}" if each.arguments else ""


def _argv(each: Start) -> str:
    return shlex.join(each.ran.argv)


def _who(each: Start, program: str = "our program") -> str:
    if not each.pid:
        return f"exit status {each.ran.status}"
    return f"{program} is PID {each.pid}" + ("" if each.pid == 1 else f", PID 1 is {each.first}")


def _rows(starts: Sequence[Start]) -> list[list[Start]]:
    """Those with the same ENTRYPOINT, in the order in which they were tried."""
    rows: dict[str, list[Start]] = {}
    for each in starts:
        rows.setdefault(each.entrypoint, []).append(each)
    return list(rows.values())


def needed_height(starts: Sequence[Start]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + len(_rows(starts)) * (ROW + GAP) + BOTTOM


def draw_starts(axes: Axes, starts: Sequence[Start]) -> None:
    """Draw the grid into `axes`, which fills its figure."""
    high = needed_height(starts)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.2, finding(starts), size=style.size("title"), weight="bold", va="center")
    rows = _rows(starts)
    wide = (99 - LEFT) / max(map(len, rows))
    for column, each in enumerate(rows[0]):
        _draw_column_head(axes, each, LEFT + column * wide + 0.8)
    for number, row in enumerate(rows):
        top = TOP + number * (ROW + GAP)
        _draw_row_head(axes, row[0], top)
        for column, each in enumerate(row):
            _draw_cell(axes, each, (LEFT + column * wide, top, wide - 1.2, ROW))
    key = "mono: the list that is started;  red: no program of ours ran"
    axes.text(1.2, high - BOTTOM / 2 + 0.2, key, size=style.size("small"), va="center")


def _draw_column_head(axes: Axes, each: Start, x: float) -> None:
    words_ = f"{form(each.cmd)} form of CMD"
    lines = [(words_, "bold", None), (each.cmd.partition(" ")[2], "normal", "monospace")]
    if each.arguments:
        lines = [("run with an argument", "bold", None),
                 (" ".join(each.arguments), "normal", "monospace")]  # fmt: skip
    for at, (text, weight, family) in enumerate(lines):
        axes.text(x, TOP - 6.0 + at * 2.6, text, size=style.size("body" if not at else "small"),
                  weight=weight, family=family, va="center")  # fmt: skip


def _draw_row_head(axes: Axes, each: Start, top: float) -> None:
    word = form(each.entrypoint)
    head = "no ENTRYPOINT" if word == "none" else f"{word} form"
    axes.text(1.2, top + 3.2, head, size=style.size("body"), weight="bold", va="center")
    lines = [] if word == "none" else ["ENTRYPOINT", *textwrap.wrap(each.entrypoint[11:], 20)]
    for at, line in enumerate(lines):
        axes.text(1.2, top + 6.2 + at * 2.5, line, size=style.size("small"), family="monospace",
                  va="center")  # fmt: skip


def _draw_cell(axes: Axes, each: Start, box: tuple[float, float, float, float]) -> None:
    left, top, wide, high = box
    fails = not each.pid
    colour = style.KERNEL if fails else style.FIRST if each.pid == 1 else style.HOST
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.5, top + 0.5), wide - 1, high - 1, boxstyle="round,pad=0.4", linewidth=1.8,
            facecolor=colour + "14", edgecolor=colour, linestyle="--" if fails else "-",
        )
    )  # fmt: skip
    argv = textwrap.wrap(_argv(each), _ARGV, max_lines=2, break_on_hyphens=False)
    for at, line in enumerate(argv):
        axes.text(left + 1.2, top + 2.4 + at * 2.3, line, size=style.size("small"),
                  family="monospace", va="center")  # fmt: skip
    said = each.said if fails else f"“{each.said}”"
    lines = textwrap.wrap(said, _SAID, max_lines=2, placeholder=" …")
    size = "small" if fails else "large" if len(said) < _LARGE else "body"
    for at, line in enumerate(lines):
        axes.text(left + 1.2, top + 7.4 + at * 2.2, line, va="center", size=style.size(size),
                  weight="normal" if fails else "bold")  # fmt: skip
    ending = f"✕ exit status {each.ran.status}" if fails else _who(each, "greet")
    axes.text(left + 1.2, top + high - 2.2, ending, size=style.size("small"), va="center",
              weight="bold" if fails or each.pid != 1 else "normal",
              color=style.KERNEL if fails else style.INK)  # fmt: skip


def show_starts(starts: Sequence[Start]) -> None:
    """Show the grid in the notebook, with its words and the table behind it."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(starts) / 100)
    draw_starts(figure.add_axes((0, 0, 1, 1)), starts)
    style.show(figure, words(starts), table(starts))
