"""Sliders and buttons with real labels, and a log that is read out: plain HTML in two widgets.

A slider does not believe what it was moved to: Python is told, and what Python then says is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import anywidget
import traitlets

_ESM = """
export default {
  render({ model, el }) {
    const root = document.createElement('div');
    root.className = 'labsupport-controls';
    // JupyterLab would take the arrow keys
    root.dataset.lmSuppressShortcuts = 'true';
    root.addEventListener('keydown', (event) => event.stopPropagation());
    const sliders = document.createElement('div');
    const buttons = document.createElement('div');
    sliders.className = 'sliders';
    buttons.className = 'buttons';
    buttons.setAttribute('role', 'group');
    buttons.setAttribute('aria-label', 'programs');
    root.append(sliders, buttons);
    el.replaceChildren(root);
    const known = {};
    const id = 'lab' + Math.random().toString(36).slice(2);
    const make = (spec) => {
      const row = document.createElement('div');
      row.className = 'slider';
      const label = document.createElement('label');
      const code = document.createElement('code');
      code.textContent = spec.kernel;
      label.append(code, ': ' + spec.plain);
      const output = document.createElement('output');
      const input = document.createElement('input');
      input.type = 'range';
      input.id = id + spec.name;
      label.htmlFor = input.id;
      input.addEventListener('change', () =>
        model.send({ set: spec.name, value: Number(input.value) }));
      row.append(label, input, output);
      sliders.append(row);
      return { input, output };
    };
    const show = () => {
      for (const spec of model.get('sliders')) {
        const { input, output } = known[spec.name] ??= make(spec);
        Object.assign(input, { min: spec.least, max: spec.most, step: spec.step });
        input.value = spec.value;
        input.setAttribute('aria-valuetext', spec.shown);
        output.textContent = spec.shown;
      }
    };
    const push = () => {
      buttons.replaceChildren(...model.get('buttons').map((spec) => {
        const button = document.createElement('button');
        button.type = 'button';
        button.className = 'jupyter-button';
        button.textContent = spec.label;
        button.disabled = !!spec.missing;
        button.title = spec.missing || spec.title;
        button.addEventListener('click', () => model.send({ press: spec.name }));
        return button;
      }));
    };
    model.on('change:sliders', show);
    model.on('change:buttons', push);
    show(); push();
  }
};
"""

_CSS = """
.labsupport-controls { color: var(--jp-ui-font-color1, inherit);
  font-size: var(--jp-ui-font-size1, 13px); max-width: 920px; }
.labsupport-controls .sliders { display: grid; gap: .2em 1.6em;
  grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); margin-bottom: .5em; }
.labsupport-controls .slider { display: grid; grid-template-columns: 1fr 5.6em; gap: 0 .8em;
  align-items: center; }
.labsupport-controls label { grid-column: 1 / -1; white-space: nowrap; }
.labsupport-controls output { font-weight: 600; font-variant-numeric: tabular-nums; }
.labsupport-controls input { width: 100%; margin: .2em 0; accent-color: #E69F00; }
.labsupport-controls .buttons { display: flex; flex-wrap: wrap; gap: .5em; margin-bottom: .4em; }
.labsupport-controls button { width: auto; }
.labsupport-controls button:disabled { opacity: .5; }
.labsupport-controls :is(button, input):focus-visible { outline: 2px solid #0072B2;
  outline-offset: 2px; }
.labsupport-log { color: var(--jp-ui-font-color1, inherit); max-width: 900px; height: 6.6em;
  overflow-y: auto; margin: .2em 0 0; padding: .3em .8em;
  font-size: var(--jp-ui-font-size1, 13px); line-height: 1.4;
  border: 1px solid var(--jp-border-color2, #ccc); border-radius: 6px; }
.labsupport-log:focus-visible { outline: 2px solid #0072B2; }
"""

_LOG_ESM = """
export default {
  render({ model, el }) {
    const list = document.createElement('div');
    list.className = 'labsupport-log';
    list.setAttribute('role', 'log');
    list.setAttribute('aria-live', 'polite');
    list.setAttribute('aria-label', model.get('label'));
    list.tabIndex = 0;
    list.dataset.lmSuppressShortcuts = 'true';
    list.addEventListener('keydown', (event) => event.stopPropagation());  // arrow keys scroll
    el.replaceChildren(list);
    const show = () => {
      const lines = model.get('lines');
      while (list.children.length > lines.length) list.lastChild.remove();
      lines.forEach((line, number) => {
        const item = list.children[number] ?? list.appendChild(document.createElement('div'));
        if (item.textContent !== line) item.textContent = line;
      });
      list.scrollTop = list.scrollHeight;
    };
    model.on('change:lines', show);
    show();
  }
};
"""


@dataclass(frozen=True)
class Slider:
    """A slider: the kernel's word and a plain one, its range, its value and how that is written."""

    name: str
    kernel: str
    plain: str
    least: float
    most: float
    step: float
    value: float
    shown: str


@dataclass(frozen=True)
class Button:
    """A button; `missing` says why it cannot be pressed."""

    name: str
    label: str
    title: str = ""
    missing: str = ""


class Controls(anywidget.AnyWidget):
    """Sliders and buttons; `on_set(name, value)` and `on_press(name)` are called when used."""

    _esm = _ESM
    _css = _CSS
    sliders = traitlets.List(traitlets.Dict()).tag(sync=True)
    buttons = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(
        self, on_set: Callable[[str, float], None], on_press: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._on_set, self._on_press = on_set, on_press
        self.on_msg(self._told)

    def show(self, sliders: list[Slider], buttons: list[Button]) -> None:
        """Show these values; also after a refusal, so that the sliders go back."""
        new = [asdict(slider) for slider in sliders]
        if new == self.sliders:
            self.send_state("sliders")
        self.sliders = new
        self.buttons = [asdict(button) for button in buttons]

    def _told(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if "set" in content:
            self._on_set(content["set"], content["value"])
        elif "press" in content:
            self._on_press(content["press"])


class Log(anywidget.AnyWidget):
    """Lines of text; new ones are read out."""

    _esm = _LOG_ESM
    _css = _CSS
    lines = traitlets.List(traitlets.Unicode()).tag(sync=True)
    label = traitlets.Unicode("what happened").tag(sync=True)
