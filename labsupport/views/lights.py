"""A row of lamps: one for each way out of a container; on if the container kept the attempt in."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

from labsupport.linux.workshop.breakouts import Light
from labsupport.views import style

WIDTH = 10.0  # inches
UNITS = 100.0  # the page's width in its own units
LAMP = 6.6  # the top of the lamps' row is here
LINE = 2.3  # from one line of words to the next
_EVIDENCE = 26.6  # and the lines of evidence begin here
_GLOW = ((4.6, 0.10), (3.9, 0.16))  # radii and strengths around a lamp that is on
_WRAP = 116  # characters


def finding(lights: Sequence[Light], before: Sequence[Light] = ()) -> str:
    """Say in one line how many attempts were kept in, and which of them newly."""
    held = sum(light.held for light in lights)
    count = {0: f"All {len(lights)} attempts break out", len(lights): f"All {held} are kept in"}
    words = count.get(held, f"{held} of {len(lights)} attempts are kept in")
    new = [light.words for light in changed(lights, before) if light.held]
    return f"{words}. New: {', '.join(new)}" if new else words


def changed(lights: Sequence[Light], before: Sequence[Light]) -> list[Light]:
    """The lights that are not as they were."""
    was = {light.name: light.held for light in before}
    return [light for light in lights if was.get(light.name, light.held) != light.held]


def told(lights: Sequence[Light], before: Sequence[Light]) -> list[str]:
    """The lines of evidence to show below the row: of what has changed."""
    lines = []
    for light in changed(lights, before):
        text = f"{light.words}:  {light.attempt}  →  {light.evidence}"
        lines += textwrap.wrap(text, _WRAP, subsequent_indent="      ")
    return lines


def words(lights: Sequence[Light], before: Sequence[Light] = ()) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(lights, before)}."]
    parts += [f"{each.words}: {_word(each)} ({each.evidence})." for each in lights]
    return " ".join(parts)


def table(lights: Sequence[Light]) -> list[tuple[object, ...]]:
    """Return a row for each light, with a row of headings first."""
    head = ("kind", "what", "attempt inside", "light", "evidence")
    return [
        head,
        *((each.name, each.words, each.attempt, _word(each), each.evidence) for each in lights),
    ]


def needed_height(lights: Sequence[Light], before: Sequence[Light] = ()) -> float:
    """The height in units of the page's width."""
    lines = len(told(lights, before))
    return _EVIDENCE - LINE / 2 + (lines + 0.6) * LINE if lines else _EVIDENCE - 0.8


def draw_lights(axes: Axes, lights: Sequence[Light], before: Sequence[Light] = ()) -> None:
    """Draw the row into `axes`, which fills its figure; `before` is how it was one step ago."""
    height = needed_height(lights, before)
    axes.set(xlim=(0, UNITS), ylim=(height, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(
        1.6, 2.9, finding(lights, before), size=style.size("title"), weight="bold", va="center"
    )
    new = {light.name for light in changed(lights, before)}
    step = UNITS / len(lights)
    for number, light in enumerate(lights):
        _draw_lamp(axes, light, step * (number + 0.5), light.name in new)
    for number, line in enumerate(told(lights, before)):
        axes.text(1.6, _EVIDENCE + number * LINE, line, size=style.size("small"), va="center")


def _draw_lamp(axes: Axes, light: Light, x: float, new: bool) -> None:
    y = LAMP + 4.6
    socket = FancyBboxPatch((x - 1.1, y + 2.6), 2.2, 1.7, boxstyle="round,pad=0.1",
                            facecolor=style.SHARED, edgecolor=style.INK, lw=1.2)  # fmt: skip
    if light.held:
        for radius, strength in _GLOW:
            axes.add_artist(Circle((x, y), radius, facecolor=style.FIRST, alpha=strength, lw=0))
    axes.add_artist(socket)
    if light.held:
        axes.add_artist(Circle((x, y), 2.9, facecolor=style.FIRST, edgecolor=style.INK, lw=1.4))
    else:
        axes.add_artist(Circle((x, y), 2.9, facecolor="#F1F1F1", edgecolor=style.SHARED, lw=1.4))
        axes.annotate(
            "", xy=(x + 4.2, y - 3.3), xytext=(x - 0.6, y + 0.5),
            arrowprops={"arrowstyle": "-|>", "color": style.KERNEL, "lw": 2.4,
                        "mutation_scale": 16},
        )  # fmt: skip
    if new:
        axes.add_artist(Circle((x, y), 4.5, facecolor="none", edgecolor=style.INK, lw=2.4))
    weight, colour = "bold" if new else "normal", style.INK if light.held else style.KERNEL
    lines = [(_word(light), colour), *((part, style.INK) for part in light.words.split(" ", 1))]
    for number, (text, ink) in enumerate(lines):
        axes.text(x, y + 6.5 + number * 2.5 + (0.6 if number else 0), text, color=ink,
                  size=style.size("small"), ha="center", va="center", weight=weight)  # fmt: skip


def _word(light: Light) -> str:
    return "held" if light.held else "broken out"
