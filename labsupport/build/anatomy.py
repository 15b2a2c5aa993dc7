"""What each instruction of a Dockerfile did: the image after it compared with the image before it.

Builders keep an image for each step. An image is a list of layers and a configuration, so there are
two things that an instruction can do: add a layer, or change the configuration.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labsupport.engine.listing import IMAGE_OWNER
from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import amount

if TYPE_CHECKING:
    from labsupport.build.build import Build
    from labsupport.engine.client import Engine

# what `docker inspect` shows below Config, and says something of the image
KEYS = ("Env", "WorkingDir", "User", "ExposedPorts", "Entrypoint", "Cmd", "Volumes", "Labels",
        "StopSignal", "Shell", "Healthcheck", "OnBuild")  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """What one instruction did.

    `layers` are the digests (diff IDs) of the layers that it added: one or none, except for FROM,
    which takes over all of the base image's. `config` maps what it changed in the configuration to
    (before, after), as JSON. `files` are the paths that its layers add, change or delete, without
    folders that were already there; `size_bytes` is the sum of the layers' regular files.
    """

    instruction: str
    layers: tuple[str, ...] = ()
    config: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    size_bytes: int = 0

    @property
    def verb(self) -> str:
        """The instruction's first word: `RUN`."""
        return self.instruction.split()[0].upper()


@dataclass(frozen=True)
class Anatomy:
    """The effects of a Dockerfile's instructions, in their order."""

    effects: tuple[Effect, ...]

    @classmethod
    def of(cls, engine: Engine, build: Build, layers: Sequence[Any]) -> Anatomy:
        """Compare the images that a build left behind at each step.

        `layers` are those of an opened `Image` of the build's: they tell the files.

        Raises `LabError`: the builder does not name the image of a step.
        """
        by_id = {layer.diff_id: layer for layer in layers}
        return cls(tuple(_effect(*each, by_id) for each in _pairs(engine, build)))

    def show(self) -> None:
        """Show a table, line by line, with its words and the table behind it."""
        page(self.effects).show(words(self.effects), table(self.effects))


@dataclass(frozen=True)
class _State:
    layers: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def _pairs(engine: Engine, build: Build) -> Iterator[tuple[str, _State, _State]]:
    """Give each instruction with what was before and after it."""
    before = _State()
    for step in build.steps:
        if step.image_id:
            attributes = engine.client.images.get(step.image_id).attrs
            layers = tuple(attributes["RootFS"].get("Layers") or ())
            after = _State(layers, attributes["Config"])
        elif step.instruction.split()[1:2] == ["scratch"]:
            after = _State()
        else:
            raise LabError(
                "the steps of this build cannot be compared",
                f"the builder names no image for `{step.instruction}`",
                "use an engine whose API builds step by step: Docker's, or Podman's with layers",
            )
        yield step.instruction, before, after
        before = after


def _effect(instruction: str, before: _State, after: _State, by_id: Mapping[str, Any]) -> Effect:
    new = [by_id[name] for name in after.layers[len(before.layers) :]]
    files = [
        path
        for layer in new
        for path in (*layer.added, *_changed_files(layer), *layer.deleted)
    ]  # fmt: skip
    return Effect(
        instruction,
        tuple(layer.diff_id for layer in new),
        _difference(before.config, after.config),
        tuple(files),
        sum(layer.size_bytes for layer in new),
    )


def _changed_files(layer: Any) -> list[str]:
    """A folder counts as changed when something in it did."""
    return [path for path in layer.changed if layer.files[path].kind != "folder"]


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    pairs = {key: (_value(before, key), _value(after, key)) for key in KEYS}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


def _value(config: Mapping[str, Any], key: str) -> str:
    """Return a setting as JSON, empty if there is none."""
    value = config.get(key)
    if key == "Labels" and value:  # our own label says whose the image is, and every step has it
        value = {name: text for name, text in value.items() if name != IMAGE_OWNER}
    return json.dumps(value) if value else ""


# --- the picture: the file as it was written, the layers as they pile up, the changes of the JSON

INCHES = 10.0
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
    """What is new: of a list that has grown, only what was added."""
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


def page(effects: Sequence[Effect]) -> Page:
    """Draw a row for each instruction."""
    rows = [(each, _cells(each)) for each in effects]
    heights = [max(map(len, cells)) * LINE + PAD for _, cells in rows]
    sheet = Page(TOP + sum(heights) + BOTTOM, finding(effects), inches=INCHES)
    heads = ("the Dockerfile", "the layer it adds", "what it writes into the JSON")
    for x, head in zip((LEFT, MIDDLE, RIGHT), heads, strict=True):
        sheet.text(x, TOP - 3.4, head, "body", bold=True)
    top, number = TOP, 0
    for (effect, cells), high in zip(rows, heights, strict=True):
        number += len(effect.layers)
        _draw_row(sheet, effect, cells, (top, high), number)
        top += high
    key = f"{number} layers in all, each on top of those above it here; grey: the base image's."
    sheet.text(LEFT, sheet.height - BOTTOM / 2 + 0.3, key)
    return sheet


Cells = tuple[list[str], list[str], list[str]]


def _cells(effect: Effect) -> Cells:
    """The lines of text of a row: instruction, layer, configuration."""
    instruction = textwrap.wrap(effect.instruction, _INSTRUCTION, subsequent_indent="    ")
    config = [line for change in _changes(effect) for line in _config_lines(change)]
    layer = [amount(effect.size_bytes), *_file_lines(effect)] if effect.layers else []
    return instruction, layer, config


def _file_lines(effect: Effect) -> list[str]:
    if effect.verb == "FROM":
        return ["the base's files, as they are"]
    leaves = [
        path for path in effect.files
        if not any(other.startswith(f"{path}/") for other in effect.files)
    ]  # fmt: skip
    shown = leaves[:_MOST_PATHS] if len(leaves) <= _MOST_PATHS else leaves[: _MOST_PATHS - 1]
    lines = [path if len(path) <= _FILES else f"…{path[1 - _FILES :]}" for path in shown]
    rest = len(leaves) - len(shown)
    return [*lines, f"and {rest} more"] if rest else lines


def _config_lines(change: str) -> list[str]:
    """Two lines at most; a longer one, which is a list of folders, is cut."""
    lines = textwrap.wrap(change, _CONFIG, subsequent_indent="  ", break_long_words=False)
    if len(lines) <= 2 and max(map(len, lines)) <= _CONFIG:
        return lines
    return [f"{change[: _CONFIG - 1]}…"]


def _draw_row(
    sheet: Page, effect: Effect, cells: Cells, place: tuple[float, float], number: int
) -> None:
    top, high = place
    instruction, layer, config = cells
    y = top + PAD / 2 + LINE / 2
    sheet.line((LEFT, top), (98.8, top), colour=style.PALE, linewidth=0.8)
    verb, _, rest = instruction[0].partition(" ")
    sheet.text(LEFT, y, verb, bold=True, mono=True)
    indent = " " * (len(verb) + 1)
    _write(sheet, LEFT, y, [indent + rest, *instruction[1:]], mono=True)
    _write(sheet, RIGHT, y, config, mono=True)
    if not layer:
        sheet.text(MIDDLE + 1.2, y, "none", colour=style.QUIET)
        return
    colour = style.SHARED if effect.verb == "FROM" else style.FIRST
    corner = (MIDDLE + 0.1, top + 0.4)
    sheet.box(*corner, 29.2, high - 0.8, colour, fill=f"{colour}30", linewidth=1.6)
    sheet.text(MIDDLE + 1.2, y, f"layer {number}: {layer[0]}", bold=True)
    _write(sheet, MIDDLE + 1.2, y + LINE, layer[1:], mono=effect.verb != "FROM")


def _write(sheet: Page, x: float, y: float, lines: Sequence[str], *, mono: bool) -> None:
    for at, line in enumerate(lines):
        sheet.text(x, y + at * LINE, line, mono=mono)
