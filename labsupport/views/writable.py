"""A container's own layer over its image's, as a picture; as a list where layers cannot be seen."""

from __future__ import annotations

import html
from dataclasses import dataclass

from labsupport.views.overlay_map import show_overlay
from labsupport.writable_layer import WritableLayer


@dataclass(frozen=True)
class Changes:
    """The changes that the engine tells, where the layers themselves cannot be seen."""

    layer: WritableLayer

    def __repr__(self) -> str:
        lines = [f"{what:8} {path}" for path, what in sorted(self.layer.changes.items())]
        return "\n".join([self._because, *lines])

    @property
    def _because(self) -> str:
        return f"Its layers cannot be seen ({self.layer.why}). The engine tells what it changed:"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{what}</td><td style='text-align:left'>{html.escape(path)}</td></tr>"
            for path, what in sorted(self.layer.changes.items())
        )
        return f"<p>{html.escape(self._because)}</p><table>{rows}</table>"


def show_writable(layer: WritableLayer, *also: str) -> None:
    """Show where each name that a container has written really lies, and some others (`also`)."""
    from IPython.display import display

    if layer.folder is None:
        display(Changes(layer))
        return
    stack = layer.look(*also)
    chosen = [path.strip("/") for path in also]
    paths = [*chosen, *(path for path in stack.paths() if path not in chosen)]
    show_overlay(stack, paths, layer.names())
