"""The control of a prediction: buttons for choices, a field for a number; keys work, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from labsupport.errors import LabError

if TYPE_CHECKING:
    from labsupport.course.predictions import Prediction

_ESM = """
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
export default {
  render({ model, el }) {
    const name = `guess-${Math.random()}`;
    const say = (value) => { model.set('guess', value); model.save_changes(); };
    const choice = (value) => {
      const button = make('input', { type: 'radio', name, value });
      button.checked = model.get('guess') === value;
      button.addEventListener('change', () => say(value));
      return make('label', {}, button, value);
    };
    const number = () => {
      const field = make('input', { type: 'number', step: 'any', value: model.get('guess') });
      field.addEventListener('change', () => say(field.value));
      return make('label', {}, 'your guess:', field, model.get('unit'));
    };
    const choices = model.get('choices');
    const status = make('span', { role: 'status' });
    const frame = make('fieldset', { className: 'labsupport-guess' },
      make('legend', { textContent: model.get('question') }),
      ...(choices.length ? choices.map(choice) : [number()]), status);
    frame.dataset.lmSuppressShortcuts = 'true';
    frame.addEventListener('keydown', (event) => event.stopPropagation());
    const tell = () => {
      const answer = model.get('answer');
      status.textContent = answer || model.get('status');
      for (const input of frame.querySelectorAll('input')) input.disabled = answer !== '';
    };
    model.on('change:status', tell);
    model.on('change:answer', tell);
    tell();
    el.replaceChildren(frame);
    return () => { model.off('change:status', tell); model.off('change:answer', tell); };
  }
};
"""

_CSS = """
.labsupport-guess { border: 0; border-left: 5px solid #0072B2; margin: 0; padding: .3em .8em;
  display: flex; flex-wrap: wrap; gap: .3em 1.2em; align-items: center;
  color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit)); }
.labsupport-guess legend { float: left; width: 100%; padding: 0; font-weight: bold; }
.labsupport-guess label { display: flex; gap: .4em; align-items: center; cursor: pointer; }
.labsupport-guess input[type=number] { width: 9em; font: inherit; color: inherit;
  background: var(--jp-layout-color1, var(--vscode-input-background, Field));
  border: 1px solid #6E6E6E; border-radius: 3px; padding: .2em .4em; }
.labsupport-guess input:focus-visible { outline: 2px solid #0072B2; outline-offset: 2px; }
.labsupport-guess [role=status] { width: 100%; }
"""


class GuessWidget(anywidget.AnyWidget):
    """The widget: `guess` is what was chosen or typed, `answer` closes it."""

    _esm = _ESM
    _css = _CSS
    question = traitlets.Unicode("").tag(sync=True)
    choices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    unit = traitlets.Unicode("").tag(sync=True)
    guess = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    answer = traitlets.Unicode("").tag(sync=True)

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction
        bounds = prediction.bounds
        super().__init__(
            question=prediction.question, choices=list(prediction.choices), unit=prediction.unit,
            guess=str("" if prediction.guess is None else prediction.guess),
            status=f"{bounds[:1].upper()}{bounds[1:]}." if bounds else "",
        )  # fmt: skip
        self.observe(self._said, "guess")

    def _said(self, change: dict[str, Any]) -> None:
        try:
            self._prediction.guess = change["new"]
        except LabError as error:
            self.status = str(error)
            return
        noted = self._prediction.guess
        self.status = "" if noted is None else f"Noted: {noted}. Now run the next cell."
