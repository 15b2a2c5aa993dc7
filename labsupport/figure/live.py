"""A picture that changes while its cell runs, with a Stop button and a text alternative.

The widget only shows what it is given: a PNG, its words, a status line. It is drawn by matplotlib
in the kernel (an Agg canvas is several times cheaper than redrawing the cell's output). When it has
stopped, the cell's output also holds a still picture, for readers without a kernel.
"""

import asyncio
import io
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anywidget
import traitlets
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from labsupport.errors import LabError
from labsupport.figure.style import as_written, bundle

_ESM = """
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
// show the model's PNG whenever it changes; what is returned lets go of it
const paint = (model, image) => {
  let url = null;
  const show = () => {
    const bytes = model.get('png');
    if (!bytes || !bytes.byteLength) return;
    const old = url;
    url = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
    image.src = url;
    image.width = model.get('width');
    image.alt = model.get('alt');
    if (old) setTimeout(() => URL.revokeObjectURL(old), 500);
  };
  model.on('change:png', show);
  show();
  return () => { if (url) URL.revokeObjectURL(url); };
};
// a slider of ipywidgets has a label next to it, but no name
const nameSliders = (el) => {
  for (const slider of el.parentElement?.querySelectorAll('.widget-slider') ?? []) {
    const words = slider.querySelector('.widget-label')?.textContent;
    slider.querySelector('[role=slider]')?.setAttribute('aria-label', words);
  }
};
export default {
  render({ model, el }) {
    const image = make('img');
    const button = make('button', { type: 'button', class: 'jupyter-button' });
    const status = make('span', { role: 'status' });
    const caption = make('figcaption', {}, button, status);
    el.replaceChildren(make('figure', { class: 'labsupport-live' }, image, caption));
    const say = () => { image.alt = model.get('alt'); status.textContent = model.get('status'); };
    const state = () => {
      button.textContent = '■ ' + model.get('stop');
      button.hidden = !model.get('running');
    };
    button.addEventListener('click', () => { model.set('stopping', true); model.save_changes(); });
    model.on('change:alt', say);
    model.on('change:status', say);
    model.on('change:running', state);
    say(); state();
    requestAnimationFrame(() => nameSliders(el));
    return paint(model, image);
  }
};
"""

_CSS = """
.labsupport-live { margin: 0; }
.labsupport-live img { max-width: 100%; border-radius: 6px; display: block; }
.labsupport-live figcaption { display: flex; gap: 1em; align-items: center; min-height: 2.2em; }
.labsupport-live button[hidden] { display: none; }
.labsupport-live button:focus-visible { outline: 2px solid #0072B2; outline-offset: 2px; }
"""


class LivePicture(anywidget.AnyWidget):
    """The widget: `png` (bytes), `alt` (its words), `status` (one line that is read out).

    `stop` is what its button says.
    """

    _esm = _ESM
    _css = _CSS
    png = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    stop = traitlets.Unicode("Stop").tag(sync=True)
    width = traitlets.Int(860).tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)
    stopping = traitlets.Bool(False).tag(sync=True)

    async def keep_going(
        self,
        step: Callable[[], Any],
        seconds: float,
        frames_per_second: float,
        work_is_left: Callable[[], bool] = lambda: False,
    ) -> None:
        """Call `step` at a fixed rate until time is up and no work is left, or Stop was pressed.

        An interrupt of the cell ends it as well, and is passed on.
        """
        self.stopping, self.running = False, True
        began = time.monotonic()
        frame = 0
        try:
            while not self.stopping:
                left, now = work_is_left(), time.monotonic() - began
                if not left and now >= seconds:
                    break
                step()
                # a slow step costs frames, never a queue of late ones
                frame = max(frame + 1, int(now * frames_per_second))
                pause = frame / frames_per_second - (time.monotonic() - began)
                await asyncio.sleep(max(0.0, pause if left else min(pause, seconds - now)))
        finally:
            self.running = False


def slider(
    kind: type[Any], moved: Callable[[Any], None], picture: LivePicture, **options: Any
) -> Any:
    """Make a slider of ipywidgets; what `moved(value)` refuses is said below the picture."""
    made = kind(style={"description_width": "initial"}, layout={"width": "30em"}, **options)

    def heard(change: Any) -> None:
        try:
            moved(change["new"])
        except LabError as error:
            picture.status = str(error)

    made.observe(heard, "value")
    return made


class Shown:
    """A widget displayed in a cell, whose output can be given a still picture afterwards."""

    def __init__(self, widget: Any, text: str) -> None:
        from IPython.display import display

        self._widget = widget._repr_mimebundle_()
        self._data = self._widget[0] if isinstance(self._widget, tuple) else self._widget
        self._handle = display({**self._data, "text/plain": text}, raw=True, display_id=True)

    def leave(
        self, picture: bytes, alt: str, table: Sequence[Sequence[object]], width: int
    ) -> None:
        """Put a still picture next to the widget in the cell's output."""
        if self._handle is None:
            return
        still = bundle(picture, alt, table, width)
        self._handle.update({**self._data, **still}, raw=True)


# --- repaint only what changed --------------------------------------------------------------------
# A full draw of a picture with dozens of words takes matplotlib 50 ms and more; a live map changes
# in one or two places. So a scene is a background and tiles; a tile is drawn when it differs.

Box = tuple[float, float, float, float]  # left, top, width, height in the axes' units


@dataclass(frozen=True)
class Scene:
    """`background` is anything that can be compared; `tiles` maps a place to what is there."""

    background: Hashable
    tiles: Mapping[Box, Any]


class Painter:
    """Draws scenes into one figure and returns PNGs.

    `draw_background(axes, background)` draws once; `draw_tile(axes, box, content)` returns the
    artists it added.
    """

    def __init__(
        self,
        figure: Figure,
        draw_background: Callable[[Axes, Any], None],
        draw_tile: Callable[[Axes, Box, Any], list[Artist]],
    ) -> None:
        self.figure = figure
        self.draw_background, self.draw_tile = draw_background, draw_tile
        self.canvas = FigureCanvasAgg(figure)
        self.axes = figure.add_axes((0, 0, 1, 1))
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
        few = image.convert("RGB").quantize(64, method=Image.Quantize.FASTOCTREE)
        few.save(file, "png", compress_level=1)
        return file.getvalue()
