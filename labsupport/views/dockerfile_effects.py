"""A Dockerfile, line by line, with what each instruction did: a layer, a change of the JSON, both.

On the left the file as it was written, in the middle the layers as they pile up, on the right what
has changed in the image's configuration.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.engine.anatomy import Effect
from labsupport.views import style
from labsupport.views.amounts import amount

WIDTH = 10.0  # inches
TOP, BOTTOM, LINE, PAD = 12.0, 4.6, 2.3, 1.5  # on a page 100 units wide
LEFT, MIDDLE, RIGHT = 1.2, 35.5, 67.0
_INSTRUCTION, _CONFIG, _FILES = 31, 33, 30  # characters
_MOST_PATHS = 3


def finding(effects: Sequence[Effect]) -> str:
    """Say in one line what the picture shows."""
    own = [each for each in effects if each.verb != "FROM"]
    made = [each for each in own if each.layers]
    return (
        f"{len(own)} instructions after FROM: {len(made)} add a layer, "
        f"{len(own) - len(made)} only write JSON"
    )


def words(effects: Sequence[Effect]) -> str:
    """Say all of it: the picture's text alternative."""
    told = [f"{each.instruction}: {_layer(each)}; {_config_words(each)}." for each in effects]
    return " ".join([f"{finding(effects)}.", *told])


def table(effects: Sequence[Effect]) -> list[tuple[object, ...]]:
    """A row for each instruction."""
    head = ("instruction", "layers added", "bytes", "paths", "configuration")
    return [
        head,
        *(
            (each.instruction, len(each.layers), each.size_bytes if each.layers else "-",
             _paths(each, 12), _config_words(each))
            for each in effects
        ),
    ]  # fmt: skip


def _layer(effect: Effect) -> str:
    if not effect.layers:
        return "no layer"
    return f"a layer of {amount(effect.size_bytes)} ({_paths(effect, 5)})"


def _config_words(effect: Effect) -> str:
    return "; ".join(_changes(effect)) or "configuration as before"


def _changes(effect: Effect) -> list[str]:
    return [f"{key}: {_new(before, after)}" for key, (before, after) in effect.config.items()]


def _new(before: str, after: str) -> str:
    """What has come: of a list that has grown only the rest."""
    if not after:
        return f"{before} is gone"
    head = before[:-1]
    if before and after.startswith(head) and before.startswith("["):
        return f"+ {after[len(head) :].lstrip(', ').removesuffix(']')}"
    return after


def _paths(effect: Effect, most: int) -> str:
    shown = [*effect.files[:most]]
    rest = len(effect.files) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _cells(effect: Effect) -> tuple[list[str], list[str], list[str]]:
    """The lines of text of a row: instruction, layer, configuration."""
    instruction = textwrap.wrap(effect.instruction, _INSTRUCTION, subsequent_indent="    ")
    config = [line for change in _changes(effect) for line in _config_lines(change)]
    if not effect.layers:
        return instruction, [], config
    leaves = [
        path for path in effect.files
        if not any(other.startswith(f"{path}/") for other in effect.files)
    ]  # fmt: skip
    shown = leaves[:_MOST_PATHS] if len(leaves) <= _MOST_PATHS else leaves[: _MOST_PATHS - 1]
    if effect.verb == "FROM":
        shown = ["the base's files, as they are"]
    lines = [path if len(path) <= _FILES else f"…{path[1 - _FILES :]}" for path in shown]
    if effect.verb != "FROM" and len(leaves) > len(shown):
        lines.append(f"and {len(leaves) - len(shown)} more")
    return instruction, [f"{amount(effect.size_bytes)}", *lines], config


def _config_lines(change: str) -> list[str]:
    """Two lines at most; a longer one, which is a list of folders, is cut."""
    lines = textwrap.wrap(change, _CONFIG, subsequent_indent="  ", break_long_words=False)
    if len(lines) <= 2 and max(map(len, lines)) <= _CONFIG:
        return lines
    return [f"{change[: _CONFIG - 1]}…"]


def _height(effect: Effect) -> float:
    return max(map(len, _cells(effect))) * LINE + PAD


def needed_height(effects: Sequence[Effect]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + sum(map(_height, effects)) + BOTTOM


def draw_effects(axes: Axes, effects: Sequence[Effect]) -> None:
    """Draw a row for each instruction into `axes`, which fills its figure."""
    high = needed_height(effects)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(LEFT, 3.2, finding(effects), size=style.size("title"), weight="bold", va="center")
    heads = ("the Dockerfile", "the layer it adds", "what it writes into the JSON")
    for x, head in zip((LEFT, MIDDLE, RIGHT), heads, strict=True):
        axes.text(x, TOP - 3.4, head, size=style.size("body"), weight="bold", va="center")
    top, number = TOP, 0
    for effect in effects:
        row = _height(effect)
        axes.plot([LEFT, 98.8], [top, top], color="#D5D9DD", lw=0.8)
        number += len(effect.layers)
        _draw_row(axes, effect, top, row, number)
        top += row
    key = f"{number} layers in all, each on top of those above it here; grey: the base image's."
    axes.text(LEFT, high - BOTTOM / 2 + 0.3, key, size=style.size("small"), va="center")


def _draw_row(axes: Axes, effect: Effect, top: float, row: float, number: int) -> None:
    instruction, layer, config = _cells(effect)
    verb, _, rest = instruction[0].partition(" ")
    y = top + PAD / 2 + LINE / 2
    axes.text(LEFT, y, verb, size=style.size("small"), weight="bold", family="monospace",
              va="center")  # fmt: skip
    indent = " " * (len(verb) + 1)
    for at, line in enumerate([indent + rest, *instruction[1:]]):
        axes.text(LEFT, y + at * LINE, line, size=style.size("small"), family="monospace",
                  va="center")  # fmt: skip
    if layer:
        colour = style.SHARED if effect.verb == "FROM" else style.FIRST
        axes.add_artist(
            FancyBboxPatch(
                (MIDDLE + 0.4, top + 0.7), 28.6, row - 1.4, boxstyle="round,pad=0.3",
                linewidth=1.6, facecolor=colour + "30", edgecolor=colour,
            )
        )  # fmt: skip
        head = f"layer {number}: {layer[0]}"
        for at, line in enumerate([head, *layer[1:]]):
            axes.text(MIDDLE + 1.2, y + at * LINE, line, size=style.size("small"), va="center",
                      weight="normal" if at else "bold",
                      family="monospace" if at and effect.verb != "FROM" else None)  # fmt: skip
    else:
        axes.text(MIDDLE + 1.2, y, "none", size=style.size("small"), va="center", color="#6A6A6A")
    for at, line in enumerate(config):
        axes.text(RIGHT, y + at * LINE, line, size=style.size("small"), family="monospace",
                  va="center")  # fmt: skip


def show_effects(effects: Sequence[Effect]) -> None:
    """Show the table as a picture in the notebook, with its words and the table behind it."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(effects) / 100)
    draw_effects(figure.add_axes((0, 0, 1, 1)), effects)
    style.show(figure, words(effects), table(effects))
