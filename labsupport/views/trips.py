"""An image's pushes and pulls, side by side: which layers went over the line, and which did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.engine.shipping import LayerTrip, Trip
from labsupport.views import style
from labsupport.views.amounts import amount
from labsupport.views.instructions import instruction
from labsupport.views.layers import instruction_in_short

WIDTH = 9.6  # inches
TITLE, HEAD, ROW, FOOT = 5.0, 5.6, 5.0, 4.4  # 100 units wide
LEFT = 39.0  # what the instructions have of it
STAYED = "#5A5A5A"


def went(trip: Trip) -> str:
    """Say in a few words what one trip sent or fetched."""
    verb = "sent" if trip.verb == "push" else "fetched"
    size = f", {amount(trip.line_bytes)}" if trip.total_bytes else ""
    return f"{len(trip.travelled)} of {len(trip.layers)} layers {verb}{size}"


def finding(trips: Mapping[str, Trip]) -> str:
    """Say in one line what the picture shows."""
    said = " · ".join(f"{name}: {went(trip)}" for name, trip in trips.items())
    return said[:1].upper() + said[1:]


def words(trips: Mapping[str, Trip]) -> str:
    """Say all of it: the picture's text alternative."""
    told = [f"{finding(trips)}."]
    for name, trip in trips.items():
        layers = "; ".join(f"{_short(layer)}: {_fate(layer)}" for layer in trip.layers)
        told.append(f"{name}, {trip.name}, from the lowest layer up: {layers}.")
    return " ".join(told)


def table(trips: Mapping[str, Trip]) -> list[tuple[object, ...]]:
    """The same as rows, each image from its uppermost layer down."""
    head = ("trip", "name", "layer", "instruction", "in the registry", "what became of it")
    return [
        head,
        *(
            (name, trip.name, layer.digest.removeprefix("sha256:")[:12] or "not told",
             instruction(layer.made_by), f"{layer.blob_bytes:,} bytes", layer.outcome)
            for name, trip in trips.items()
            for layer in reversed(trip.layers)
        ),
    ]  # fmt: skip


def needed_height(trips: Mapping[str, Trip]) -> float:
    """How high a page, 100 units wide, the picture is."""
    return TITLE + HEAD + ROW * max(len(trip.layers) for trip in trips.values()) + FOOT


def draw_trips(axes: Axes, trips: Mapping[str, Trip]) -> None:
    """Draw a column for each trip, its layers as boxes: the lowest layer at the bottom."""
    high = needed_height(trips)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    title = finding(trips)
    size = style.size("title" if len(title) < 70 else "large" if len(title) < 80 else "body")
    axes.text(1.5, 3.0, title, size=size, weight="bold", va="center")
    wide = (98.5 - LEFT) / len(trips)
    bottom = high - FOOT
    _draw_instructions(axes, [*trips.values()], bottom)
    for place, (name, trip) in enumerate(trips.items()):
        left = LEFT + place * wide
        axes.text(left, TITLE + 2.4, name, size=style.size("body"), weight="bold", va="center")
        for number, layer in enumerate(trip.layers):
            _draw_layer(axes, layer, (left, bottom - (number + 1) * ROW, wide - 2.0))
        axes.text(left, bottom + 2.4, f"{trip.seconds:.1f} s", size=style.size("small"),
                  va="center", color=STAYED)  # fmt: skip


def _draw_instructions(axes: Axes, trips: Sequence[Trip], bottom: float) -> None:
    """Write what made the layers, as the last of the trips has it."""
    for number, layer in enumerate(trips[-1].layers):
        middle = bottom - number * ROW - ROW / 2
        axes.text(1.5, middle, instruction_in_short(_short(layer), 38), size=style.size("small"),
                  family="monospace", va="center")  # fmt: skip


def _draw_layer(axes: Axes, layer: LayerTrip, place: tuple[float, float, float]) -> None:
    left, top, wide = place
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.4, top + 0.9), wide - 0.8, ROW - 1.8, boxstyle="round,pad=0.4", linewidth=1.6,
            facecolor=f"{style.FIRST}55" if layer.travelled else style.PAPER,
            edgecolor=style.FIRST if layer.travelled else style.SHARED,
            linestyle="-" if layer.travelled else (0, (4, 3)),
        )
    )  # fmt: skip
    axes.text(
        left + 1.4, top + ROW / 2, _fate(layer), size=style.size("small"), va="center",
        weight="bold" if layer.travelled else "normal",
        color=style.INK if layer.travelled else STAYED,
    )  # fmt: skip


def _fate(layer: LayerTrip) -> str:
    size = f" {amount(layer.blob_bytes)}" if layer.digest else ""
    if not layer.travelled:
        return layer.outcome
    return f"→{size} sent" if layer.outcome == "sent" else f"←{size} fetched"


def _short(layer: LayerTrip) -> str:
    return instruction(layer.made_by) or "(not told)"


def show_trips(**trips: Trip) -> None:
    """Show them: `show_trips(first=push(…), after_the_change=push(…))`."""
    named = {name.replace("_", " "): trip for name, trip in trips.items()}
    figure = style.new_figure(WIDTH, WIDTH * needed_height(named) / 100)
    draw_trips(figure.add_axes((0, 0, 1, 1)), named)
    style.show(figure, words(named), table(named))
