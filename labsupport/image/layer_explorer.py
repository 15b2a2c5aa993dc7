"""The layer explorer: an image's layers, or two images side by side, to walk through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labsupport.build.build import Build
from labsupport.figure import style
from labsupport.figure.live import TOOLS, Shown
from labsupport.figure.table import amount
from labsupport.image import pictures
from labsupport.image.image import Image
from labsupport.image.pictures import Bar, FileChange, Tower

HERE = Path(__file__).parent
MOST_FILES = 200  # of a layer that the widget is given: its largest
MOST_IMAGES = 2


class LayerWidget(anywidget.AnyWidget):
    """The widget: `data` is what is shown, `selected` is {"image": place, "layer": number}."""

    _esm = TOOLS + (HERE / "layer_explorer.js").read_text()
    _css = HERE / "layer_explorer.css"
    data = traitlets.Dict().tag(sync=True)
    selected = traitlets.Dict({"image": 0, "layer": 0}).tag(sync=True)


class LayerExplorer:
    """Shows layers: `LayerExplorer({"mine": image})`, or two images with what they share.

    `builds` are builds by the same names: their cache hits are marked. `show()` gives stacks that
    answer to clicks and arrow keys and tell what the chosen layer adds, changes and deletes; the
    saved output has a still picture.

    Raises `ValueError`: it was given no image, or more than two.
    """

    def __init__(
        self, images: Image | Mapping[str, Image], builds: Mapping[str, Build] | None = None
    ) -> None:
        named = images if isinstance(images, Mapping) else {_name(images): images}
        if not 1 <= len(named) <= MOST_IMAGES:
            raise ValueError(f"one image or two are shown, not {len(named)}")
        self.towers = pictures.towers(named, builds)
        self.widget = LayerWidget(data=as_data(self.towers))

    def show(self) -> None:
        """Show the stacks to walk through."""
        words = pictures.layers_words(self.towers)
        shown = Shown(self.widget, words)
        figure = pictures.layers_page(self.towers).figure
        table = pictures.layers_table(self.towers)
        shown.leave(style.png(figure), words, table, style.pixels(figure))


def _name(image: Image) -> str:
    return image.names[0] if image.names else image.digest[7:19]


def as_data(shown: Sequence[Tower]) -> dict[str, Any]:
    """Return what the widget takes: for each image its bars, the uppermost first."""
    return {
        "title": pictures.layers_finding(shown),
        "height": max(len(tower.bars) for tower in shown),
        "largest": max((bar.size_bytes for tower in shown for bar in tower.bars), default=0),
        "towers": [
            {"name": each.name, "heading": each.heading, "bars": list(map(_bar, each.bars[::-1]))}
            for each in shown
        ],
    }


def _bar(bar: Bar) -> dict[str, Any]:
    files = sorted(bar.files, key=lambda file: (-file.size_bytes, file.path))
    return {
        "number": bar.number,
        "instruction": pictures.instruction_in_short(bar.instruction, 100),
        "full": bar.instruction,
        "digest": bar.digest[:19],
        "size": bar.size_bytes,
        "hidden": bar.hidden_bytes,
        "said": bar.said,
        "cached": bool(bar.cached),
        "shared": bar.shared,
        "counts": {what: bar.count(what) for what in ("added", "changed", "deleted")},
        "more": max(0, len(files) - MOST_FILES),
        "files": [_file(file) for file in files[:MOST_FILES]],
    }


def _file(file: FileChange) -> dict[str, Any]:
    size = amount(file.size_bytes) if file.size_bytes else ""
    return {"path": file.path, "what": file.what, "size": size, "hidden": file.hidden_by}
