"""An image's history, and which line of it made which layer."""

from __future__ import annotations

from datetime import datetime

from labsupport.engine.image.entries import Layer, Step
from labsupport.engine.image.saying import Said


def made_by(config: Said, layers: int) -> list[str]:
    """Return the line of the history for each layer, or "" for all if the two do not fit."""
    lines = [line["created_by"].text() for line in config["history"].items() if not _empty(line)]
    return lines if len(lines) == layers else [""] * layers


def steps(config: Said, layers: tuple[Layer, ...]) -> tuple[Step, ...]:
    """Return all lines, each with the layer that it made."""
    lines = config["history"].items()
    fits = sum(not _empty(line) for line in lines) == len(layers)
    left = iter(layers)
    return tuple(
        Step(
            _time(line["created"].text()),
            line["created_by"].text(),
            line["comment"].text(),
            _empty(line),
            next(left) if fits and not _empty(line) else None,
        )
        for line in lines
    )


def _empty(line: Said) -> bool:
    return bool(line["empty_layer"].value)


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # nothing, or no time: nothing depends on it
        return None
