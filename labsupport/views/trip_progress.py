"""A push or a pull while it goes on: a bar for each layer, by what the engine tells of it."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labsupport.views.amounts import amount

UPDATES_PER_SECOND = 4
_LAST = ("Pushed", "Layer already exists", "Pull complete", "Already exists")


@dataclass
class LayerState:
    """How far one layer is: the engine's word for it, and bytes of how many (0: not told)."""

    status: str = ""
    bytes: int = 0
    of: int = 0

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status in _LAST or self.status.startswith("Mounted from")


class TripProgress:
    """Shows bars in a cell: `push(engine, name, registry, TripProgress())`.

    The engine counts a pushed layer's bytes before it compresses them.
    """

    def __init__(self) -> None:
        self.layers: dict[str, LayerState] = {}
        self._handle: Any = None
        self._shown_at = 0.0

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take in what the engine says next."""
        if "id" not in event or "progressDetail" not in event:
            return
        layer = self.layers.setdefault(event["id"], LayerState())
        layer.status = str(event["status"])
        detail = event["progressDetail"]
        layer.bytes, layer.of = int(detail.get("current", 0)), int(detail.get("total", 0))
        if self.ended or time.monotonic() - self._shown_at > 1 / UPDATES_PER_SECOND:
            self._show()

    @property
    def ended(self) -> bool:
        """Whether all layers that were told of have come to their end."""
        return all(layer.ended for layer in self.layers.values())

    def words(self) -> str:
        """Say how far it is."""
        ended = sum(layer.ended for layer in self.layers.values())
        return f"{ended} of {len(self.layers)} layers"

    def markup(self) -> str:
        """Return the bars as HTML; when all has ended, a line is enough."""
        if self.ended:
            return f"<p>{self.words()}: done</p>"
        return f"<p>{self.words()}</p>" + "".join(
            f"<div style='display:flex;gap:1em;align-items:center'><code>{html.escape(name)}</code>"
            f"{_bar(layer)}<span>{html.escape(_said(layer))}</span></div>"
            for name, layer in self.layers.items()
        )

    def _show(self) -> None:
        from IPython.display import display

        self._shown_at = time.monotonic()
        bundle = {"text/html": self.markup(), "text/plain": self.words()}
        if self._handle is None:
            shown: Any = display  # which has no types
            self._handle = shown(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _bar(layer: LayerState) -> str:
    share = 1.0 if layer.ended else min(1.0, layer.bytes / layer.of) if layer.of else 0.0
    return f"<progress max='1' value='{share:.3f}' style='width:14em'></progress>"


def _said(layer: LayerState) -> str:
    how_far = f" {amount(layer.bytes)} of {amount(layer.of)}" if layer.of else ""
    return f"{layer.status}{how_far}"
