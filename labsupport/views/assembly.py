"""How the list that is started is put together, of the image's two lists and the arguments."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from labsupport.engine.starts import Start
from labsupport.views import style

WIDTH = 9.2  # inches
TOP, ROW, SAID, BOTTOM = 8.4, 5.2, 8.6, 3.0  # on a page 100 units wide
LEFT, CHARACTER = 25.0, 1.06
_COLOURS = {"entrypoint": style.FIRST, "cmd": style.SECOND, "arguments": style.THIRD}
SHELL = ("/bin/sh", "-c")
_LONGEST = 24  # characters of a word


def origins(start: Start) -> list[tuple[str, str]]:
    """Return each word of the list that was started, with where it came from.

    Read from what the engine started: a word is of ENTRYPOINT as far as that list goes, and then of
    the arguments if there were any, else of CMD.
    """
    entrypoint, _ = start.config
    rest = "arguments" if start.arguments else "cmd"
    return [
        (word, "entrypoint" if at < len(entrypoint) else rest)
        for at, word in enumerate(start.ran.argv)
    ]


def finding(start: Start) -> str:
    """Say in one line what the picture shows."""
    if start.ran.status:
        return f"It fails: exit status {start.ran.status}"
    if start.config[0][:2] == SHELL and len(start.ran.argv) > len(start.config[0]):
        return "The shell runs the word after -c, and nothing of the rest"
    if start.arguments:
        return "Arguments take CMD's place"
    return "CMD stands behind ENTRYPOINT" if start.config[0] else "CMD alone is the program"


def words(start: Start) -> str:
    """Say all of it: the picture's text alternative."""
    entrypoint, cmd = map(list, start.config)
    return (
        f"{finding(start)}. The image's Entrypoint is {entrypoint}, its Cmd {cmd}, the arguments "
        f"are {list(start.arguments)}. Started in container {start.ran.short_id}: "
        f"{list(start.ran.argv)}. It says “{start.ran.said}”, exit status {start.ran.status}."
    )


def table(start: Start) -> list[tuple[object, ...]]:
    """The same as rows."""
    return [
        ("what", "list"),
        ("the image's Entrypoint", list(start.config[0])),
        ("the image's Cmd", list(start.config[1])),
        ("arguments", list(start.arguments)),
        ("is started", list(start.ran.argv)),
        ("says", start.ran.said),
        ("exit status", start.ran.status),
    ]


def draw_assembly(axes: Axes, start: Start) -> None:
    """Draw the lists into `axes`, which fills its figure."""
    axes.set(xlim=(0, 100), ylim=(needed_height(), 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.2, finding(start), size=style.size("title"), weight="bold", va="center")
    lists = [
        ("the image's Entrypoint", [(word, "entrypoint") for word in start.config[0]]),
        ("the image's Cmd", [(word, "cmd") for word in start.config[1]]),
        ("your arguments", [(word, "arguments") for word in start.arguments]),
        ("is started", origins(start)),
    ]
    for number, (label, parts) in enumerate(lists):
        y = TOP + number * ROW + ROW / 2
        unused = number == 1 and bool(start.arguments)
        axes.text(1.2, y, label, size=style.size("body"), va="center",
                  weight="bold" if number == 3 else "normal")  # fmt: skip
        _draw_list(axes, parts, y, unused=unused)
    _draw_outcome(axes, start, TOP + len(lists) * ROW + 0.6)


def _draw_list(axes: Axes, parts: Sequence[tuple[str, str]], y: float, *, unused: bool) -> None:
    if not parts:
        axes.text(LEFT, y, "none", size=style.size("body"), va="center", color="#6A6A6A")
    x = LEFT
    for word, origin in parts:
        text = word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
        wide = len(text) * CHARACTER + 2
        colour = _COLOURS[origin]
        axes.add_artist(
            FancyBboxPatch(
                (x, y - 1.5), wide - 0.6, 3.0, boxstyle="round,pad=0.3", linewidth=1.8,
                facecolor=style.PAPER if unused else colour + "40", edgecolor=colour,
                linestyle="--" if unused else "-",
            )
        )  # fmt: skip
        axes.text(x + wide / 2 - 0.3, y, text, size=style.size("body"), family="monospace",
                  ha="center", va="center")  # fmt: skip
        x += wide + 1.4
    if unused:
        axes.text(x, y, "not used", size=style.size("body"), style="italic", va="center")


def _draw_outcome(axes: Axes, start: Start, y: float) -> None:
    ran = start.ran
    fails = ran.status != 0
    said = " / ".join((start.said or ran.said or "nothing").splitlines()[:2])
    axes.text(1.2, y + 2, "and it says", size=style.size("body"), va="center", weight="bold")
    lines = textwrap.wrap(said if fails else f"“{said}”", 62, max_lines=2, placeholder=" …")
    for at, line in enumerate(lines):
        axes.text(LEFT, y + 2 + at * 2.6, line, va="center", weight="bold",
                  size=style.size("body" if fails or len(lines) > 1 else "large"),
                  color=style.KERNEL if fails else style.INK)  # fmt: skip
    ending = f"✕ exit status {ran.status}" if fails else "exit status 0"
    note = f"{ending};  container {ran.short_id or '(none was made)'}, {ran.seconds:.2f} s"
    axes.text(LEFT, y + 6.4, note, size=style.size("small"), va="center",
              color=style.KERNEL if fails else style.INK)  # fmt: skip


def needed_height() -> float:
    """How high a page, 100 units wide, the picture is."""
    return TOP + 4 * ROW + SAID + BOTTOM


def figure_of(start: Start) -> Figure:
    """Return a figure with the picture."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height() / 100)
    draw_assembly(figure.add_axes((0, 0, 1, 1)), start)
    return figure
