"""A picture that changes while its cell runs, with a Stop button and a text alternative.

The widget only shows what it is given: a PNG, its words, a status line. It is drawn by matplotlib
in the kernel (an Agg canvas is several times cheaper than redrawing the cell's output). When it has
stopped, the cell's output also holds a still picture, for readers without a kernel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets

from labsupport.figure.style import bundle

_ESM = """
// a slider of ipywidgets has a label next to it, but no name
const nameSliders = (el) => {
  for (const slider of el.parentElement?.querySelectorAll('.widget-slider') ?? []) {
    const words = slider.querySelector('.widget-label')?.textContent;
    slider.querySelector('[role=slider]')?.setAttribute('aria-label', words);
  }
};
export default {
  render({ model, el }) {
    const figure = document.createElement('figure');
    figure.className = 'labsupport-live';
    const image = document.createElement('img');
    const caption = document.createElement('figcaption');
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'jupyter-button';
    const status = document.createElement('span');
    status.setAttribute('role', 'status');
    caption.append(button, status);
    figure.append(image, caption);
    el.replaceChildren(figure);
    let url = null;
    const paint = () => {
      const bytes = model.get('png');
      if (!bytes || !bytes.byteLength) return;
      const old = url;
      url = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
      image.src = url;
      image.width = model.get('width');
      if (old) setTimeout(() => URL.revokeObjectURL(old), 500);
    };
    const say = () => { image.alt = model.get('alt'); status.textContent = model.get('status'); };
    const state = () => {
      button.textContent = '■ ' + model.get('stop');
      button.hidden = !model.get('running');
    };
    button.addEventListener('click', () => { model.set('stopping', true); model.save_changes(); });
    model.on('change:png', paint);
    model.on('change:alt', say);
    model.on('change:status', say);
    model.on('change:running', state);
    paint(); say(); state();
    requestAnimationFrame(() => nameSliders(el));
    return () => { if (url) URL.revokeObjectURL(url); };
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
        self, step: Callable[[], Any], seconds: float, frames_per_second: float
    ) -> None:
        """Call `step` at a fixed rate until the time is up or Stop was pressed.

        An interrupt of the cell ends it as well, and is passed on.
        """
        self.stopping, self.running = False, True
        began = time.monotonic()
        frame = 0
        try:
            while not self.stopping and (now := time.monotonic() - began) < seconds:
                step()
                # a slow step costs frames, never a queue of late ones
                frame = max(frame + 1, int(now * frames_per_second))
                pause = frame / frames_per_second - (time.monotonic() - began)
                await asyncio.sleep(min(max(0.0, pause), max(0.0, seconds - now)))
        finally:
            self.running = False


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
