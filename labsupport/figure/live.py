"""A picture that changes while its cell runs, with a Stop button and a text alternative.

The widget only shows what it is given: SVG, or a PNG; its words; a status line. When it has
stopped, the cell's output also holds a still picture, for readers without a kernel.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets

from labsupport.errors import LabError
from labsupport.figure.style import bundle

_ESM = """
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
// show the model's picture whenever it changes; what is returned lets go of it
const paint = (model, image) => {
  let url = null;
  const show = () => {
    const bytes = model.get('image');
    if (!bytes || !bytes.byteLength) return;
    const old = url;
    const type = bytes.getUint8(0) === 0x3c ? 'image/svg+xml' : 'image/png'; // SVG begins with "<"
    url = URL.createObjectURL(new Blob([bytes], { type }));
    image.src = url;
    image.width = model.get('width');
    image.alt = model.get('alt');
    if (old) setTimeout(() => URL.revokeObjectURL(old), 500);
  };
  model.on('change:image', show);
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
    """The widget: `image` (a PNG or SVG), `alt` (its words), `status` (one line that is read out).

    `stop` is what its button says.
    """

    _esm = _ESM
    _css = _CSS
    image = traitlets.Bytes(b"").tag(sync=True)
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
