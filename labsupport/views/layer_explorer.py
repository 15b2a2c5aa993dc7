"""The layer explorer: an image's layers, or two images side by side, to walk through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labsupport.engine.builds import Build
from labsupport.engine.image.entries import Layer
from labsupport.engine.images import Image
from labsupport.errors import UnknownLayer
from labsupport.views import layer_bars, layers, style
from labsupport.views.amounts import amount
from labsupport.views.layers import Bar, Tower
from labsupport.views.live import Shown

HERE = Path(__file__).parent
MOST_FILES = 200  # of a layer that the widget is given: its largest
MOST_IMAGES = 2


class LayerWidget(anywidget.AnyWidget):
    """The widget: `data` is what is shown, `selected` is {"image": place, "layer": number}."""

    _esm = HERE / "layer_explorer.js"
    _css = HERE / "layer_explorer.css"
    data = traitlets.Dict().tag(sync=True)
    selected = traitlets.Dict({"image": 0, "layer": 0}).tag(sync=True)


class LayerExplorer:
    """Shows layers: `LayerExplorer({"mine": image})`, or two images with what they share.

    `builds` are builds by the same names: their cache hits are marked. `show()` gives stacks that
    answer to clicks and arrow keys and tell what the chosen layer adds, changes and deletes; the
    saved output has a still picture. `draw()` shows only that. `selected` is the chosen layer,
    and `select(2)` chooses one, as a click does.

    Raises:
        ValueError: it was given no image, or more than two.

    """

    def __init__(
        self, images: Image | Mapping[str, Image], builds: Mapping[str, Build] | None = None
    ) -> None:
        named = images if isinstance(images, Mapping) else {_name(images): images}
        if not 1 <= len(named) <= MOST_IMAGES:
            raise ValueError(f"one image or two are shown, not {len(named)}")
        self.images = dict(named)
        self.towers = layers.towers(self.images, builds)
        self.widget = LayerWidget(data=as_data(self.towers))

    @property
    def selected(self) -> Layer | None:
        """The chosen layer, or None."""
        chosen = self.widget.selected
        image = list(self.images.values())[chosen["image"]]
        return next((layer for layer in image.layers if layer.number == chosen["layer"]), None)

    def select(self, layer: int, image: str | None = None) -> Layer:
        """Choose a layer by its number, of the first image unless another is named.

        Raises:
            UnknownLayer: there is no such layer, or no such image.

        """
        names = list(self.images)
        place = names.index(image) if image in names else 0 if image is None else -1
        numbers = [each.number for each in self.towers[place].bars] if place >= 0 else []
        if layer not in numbers:
            raise UnknownLayer(layer, image, names, numbers)
        self.widget.selected = {"image": place, "layer": layer}
        return self.images[names[place]].layers[layer - 1]

    def show(self) -> None:
        """Show the stacks to walk through."""
        said = layers.words(self.towers)
        shown = Shown(self.widget, said)
        figure = layer_bars.figure_of(self.towers)
        shown.leave(style.png(figure), said, layers.table(self.towers), style.pixels(figure))

    def draw(self, title: str = "") -> None:
        """Show the still picture."""
        figure = layer_bars.figure_of(self.towers, title)
        style.show(figure, layers.words(self.towers), layers.table(self.towers))


def _name(image: Image) -> str:
    return image.names[0] if image.names else image.digest[7:19]


def as_data(shown: Sequence[Tower]) -> dict[str, Any]:
    """Return what the widget takes: for each image its bars, the uppermost first."""
    return {
        "title": layers.finding(shown),
        "height": max(len(tower.bars) for tower in shown),
        "largest": max((bar.size_bytes for tower in shown for bar in tower.bars), default=0),
        "towers": [
            {
                "name": tower.name,
                "heading": layer_bars.heading(tower),
                "bars": [_bar(bar) for bar in reversed(tower.bars)],
            }
            for tower in shown
        ],
    }


def _bar(bar: Bar) -> dict[str, Any]:
    files = sorted(bar.files, key=lambda file: (-file.size_bytes, file.path))
    return {
        "number": bar.number,
        "instruction": layers.instruction_in_short(bar.instruction, 100),
        "full": bar.instruction,
        "digest": bar.digest[:19],
        "size": bar.size_bytes,
        "hidden": bar.hidden_bytes,
        "said": bar.said,
        "cached": bool(bar.cached),
        "shared": bar.shared,
        "counts": {what: bar.count(what) for what in ("added", "changed", "deleted")},
        "more": max(0, len(files) - MOST_FILES),
        "files": [
            {
                "path": file.path,
                "what": file.what,
                "size": amount(file.size_bytes) if file.size_bytes else "",
                "hidden": file.hidden_by,
            }
            for file in files[:MOST_FILES]
        ],
    }
