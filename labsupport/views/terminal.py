"""A terminal in a cell: xterm.js in a widget. It shows what it is sent, and sends what is typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_XTERM = Path(__file__).parent / "xterm"
_EXPORT = "export{Dl as Terminal};"

_RENDER = """
const THEME = { background: '#1A1A1A', foreground: '#F2F2F2', cursor: '#E69F00',
  selectionBackground: '#56B4E9' };
export default {
  render({ model, el }) {
    const frame = document.createElement('div');
    frame.className = 'labsupport-terminal';
    frame.dataset.lmSuppressShortcuts = 'true';
    frame.addEventListener('keydown', (event) => event.stopPropagation());
    const screen = document.createElement('div');
    const foot = document.createElement('div');
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'jupyter-button';
    button.textContent = '■ Close';
    const words = document.createElement('span');
    words.setAttribute('role', 'status');
    const own = document.createElement('span');
    const line = document.createElement('code');
    line.textContent = model.get('command');
    own.append('In a terminal of your own: ', line);
    foot.append(button, words, own);
    frame.append(screen, foot);
    el.replaceChildren(frame);
    const terminal = new Terminal({ rows: model.get('rows'), cols: model.get('columns'),
      screenReaderMode: true, fontSize: model.get('font_size'), theme: THEME, cursorBlink: false,
      minimumContrastRatio: 4.5, scrollback: 2000 });
    terminal.open(screen);
    terminal.textarea?.setAttribute('aria-label', `terminal: ${model.get('command')}`);
    terminal.attachCustomKeyEventHandler((event) => {
      event.stopPropagation();
      if (event.type === 'keydown' && event.shiftKey && event.key === 'Escape') {
        button.focus();
        return false;
      }
      return true;
    });
    terminal.onData((keys) => model.send({ keys }));
    const receive = (message) => {
      // ESC c resets in its turn; terminal.reset() would overtake what waits to be written
      terminal.write(message.all === undefined ? message.output : '\\x1bc' + message.all);
    };
    const state = () => {
      const open = model.get('running');
      button.hidden = !open;
      terminal.options.disableStdin = !open;
      words.textContent = open ? 'Shift + Escape leaves the terminal' : 'closed';
    };
    button.addEventListener('click', () => model.send({ close: true }));
    model.on('msg:custom', receive);
    model.on('change:running', state);
    state();
    model.send({ ready: true });  // what was printed before there was a screen is sent now
    return () => { model.off('msg:custom', receive); terminal.dispose(); };
  }
};
"""

_CSS = """
.labsupport-terminal { color: var(--jp-ui-font-color1, inherit); max-width: 100%; }
.labsupport-terminal > div:first-child { overflow-x: auto; background: #1A1A1A; padding: 6px;
  border-radius: 6px; width: max-content; max-width: 100%; box-sizing: border-box; }
.labsupport-terminal > div:first-child:focus-within { outline: 2px solid #E69F00;
  outline-offset: 2px; }
.labsupport-terminal > div:last-child { display: flex; gap: .2em 1em; align-items: center;
  flex-wrap: wrap; min-height: 2.2em; }
.labsupport-terminal button[hidden] { display: none; }
.labsupport-terminal button:focus-visible { outline: 2px solid #0072B2; outline-offset: 2px; }
"""


def _module() -> str:
    """Put xterm.js, which is a module of its own, and ours into one."""
    source = (_XTERM / "xterm.mjs").read_text()
    if _EXPORT not in source:
        raise RuntimeError(f"{_XTERM}/xterm.mjs does not end in {_EXPORT}")
    return source.replace(_EXPORT, "const Terminal=Dl;") + _RENDER


class TerminalWidget(anywidget.AnyWidget):
    """The widget: `command` is shown and its accessible name.

    `on_keys` and `on_close` take what is done; `so_far` returns all that was printed.
    """

    _esm = _module()
    _css = (_XTERM / "xterm.css").read_text() + _CSS
    rows = traitlets.Int(14).tag(sync=True)
    columns = traitlets.Int(90).tag(sync=True)
    font_size = traitlets.Int(13).tag(sync=True)
    command = traitlets.Unicode("").tag(sync=True)
    running = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        on_keys: Callable[[str], None],
        on_close: Callable[[], None],
        so_far: Callable[[], str],
        **traits: Any,
    ) -> None:
        super().__init__(**traits)
        self._on_keys, self._on_close, self._so_far = on_keys, on_close, so_far
        self.on_msg(self._received)

    def write(self, text: str) -> None:
        """Show output, control characters and all."""
        self.send({"output": text})

    def _received(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if "keys" in message:
            self._on_keys(str(message["keys"]))
        elif message.get("close"):
            self._on_close()
        elif message.get("ready"):
            self.send({"all": self._so_far()})
