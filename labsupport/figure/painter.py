"""Repaint only what changed: a scene is a background and tiles; a tile is drawn when it differs.

A full draw of a picture with dozens of words takes matplotlib 50 ms and more; a live map changes in
one or two places at a time. (Agg, kept background, `restore_region` and `draw_artist`.)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from labsupport.figure.style import as_written

Box = tuple[float, float, float, float]  # left, top, width, height in the axes' units


@dataclass(frozen=True)
class Scene:
    """`background` is anything that can be compared; `tiles` maps a place to what is there."""

    background: Hashable
    tiles: Mapping[Box, Any]


class Painter:
    """Draws scenes into one figure and returns PNGs.

    `draw_background(axes, background)` draws once; `draw_tile(axes, box, content)` returns the
    artists it added. `palette` is a Pillow image whose colours the PNG has; without one the best 64
    are sought for each, which takes as long as all the rest.
    """

    def __init__(
        self,
        figure: Figure,
        draw_background: Callable[[Axes, Any], None],
        draw_tile: Callable[[Axes, Box, Any], list[Artist]],
        sharpness: float = 1.0,
        palette: Any = None,
    ) -> None:
        self.figure = figure
        self.draw_background, self.draw_tile = draw_background, draw_tile
        self.canvas = FigureCanvasAgg(figure)
        figure.set_dpi(figure.get_dpi() * sharpness)
        self.axes = figure.add_axes((0, 0, 1, 1))
        self._palette = palette
        self._painted: Scene | None = None
        self._under: dict[Box, Any] = {}  # what the empty background looks like there
        self._png = b""

    def paint(self, scene: Scene) -> bytes:
        """Return the scene as a PNG; the same bytes again if nothing changed."""
        before = self._painted
        if before is None or before.background != scene.background:
            self._start_over(scene)
            before = Scene(scene.background, {})
        gone = [box for box in before.tiles if box not in scene.tiles]
        new = [box for box, what in scene.tiles.items() if before.tiles.get(box) != what]
        for box in gone + [box for box in new if box in before.tiles]:
            self.canvas.restore_region(self._under[box])
        for box in new:
            if box not in self._under:
                self._under[box] = self.canvas.copy_from_bbox(self._pixels(box))
            for artist in self.draw_tile(self.axes, box, scene.tiles[box]):
                as_written(artist)
                self.axes.draw_artist(artist)
                artist.remove()
        self._painted = scene
        if gone or new or not self._png:
            self._png = self._encode()
        return self._png

    def _start_over(self, scene: Scene) -> None:
        self.axes.clear()
        self.draw_background(self.axes, scene.background)
        as_written(self.figure)
        self.canvas.draw()
        self._under.clear()
        self._png = b""

    def _pixels(self, box: Box) -> Bbox:
        left, top, width, height = box
        corners = [(left, top + height), (left + width, top)]
        (x0, y0), (x1, y1) = self.axes.transData.transform(corners)
        return Bbox([[int(x0) - 1, int(y0) - 1], [int(x1) + 2, int(y1) + 2]])

    def _encode(self) -> bytes:
        from PIL import Image

        image = Image.frombuffer("RGBA", self.canvas.get_width_height(), self.canvas.buffer_rgba())
        file = io.BytesIO()
        colours = image.convert("RGB")
        if self._palette is None:
            few = colours.quantize(64, method=Image.Quantize.FASTOCTREE)
        else:
            few = colours.quantize(palette=self._palette, dither=Image.Dither.NONE)
        few.save(file, "png", compress_level=1)
        return file.getvalue()
