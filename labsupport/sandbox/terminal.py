"""A shell in a cell: in a sandbox, in a container, or on the machine where the notebook runs.

It starts the very command that it shows for an ordinary terminal: nsenter(1) for a sandbox, `docker
exec -it` for a container.
"""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import termios
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labsupport import trace
from labsupport.errors import LabError, mistaken
from labsupport.figure import style
from labsupport.ownership.marks import Closing
from labsupport.sandbox import launch
from labsupport.sandbox.sandbox import Sandbox


def _start(argv: Sequence[str], rows: int, columns: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program on a pseudoterminal, as a terminal window would; pty(7).

    Return it, and the master side, which is readable when there is output, and when the program has
    ended. It ends with us: when that side is closed, for whatever reason, the kernel hangs up, and
    the session's programs get SIGHUP.
    """
    master, slave = pty.openpty()
    try:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)  # ioctl_tty(2)
        # setsid(1) makes the terminal the controlling one of a new session; a Jupyter that was
        # started by nohup(1) ignores a hangup, and so would all below it
        process = subprocess.Popen(
            ["env", "--default-signal=HUP,INT,QUIT", "setsid", "--ctty", "--wait", *argv],
            stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, **trace.environment, "TERM": "xterm-256color"},
        )  # fmt: skip
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    return process, master


# A terminal in a cell: xterm.js in a widget. It shows what it is sent, and sends what is typed.

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
      // ESC c resets in order; terminal.reset() would overtake what waits to be written
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
    source = (_XTERM / "xterm.mjs").read_text()
    if _EXPORT not in source:
        raise RuntimeError(f"{_XTERM}/xterm.mjs does not end in {_EXPORT}")
    return source.replace(_EXPORT, "const Terminal=Dl;") + _RENDER


class TerminalWidget(anywidget.AnyWidget):
    """The widget of a terminal: `command` is shown and its accessible name."""

    _esm = _module()
    _css = (_XTERM / "xterm.css").read_text() + _CSS
    rows = traitlets.Int(14).tag(sync=True)
    columns = traitlets.Int(90).tag(sync=True)
    font_size = traitlets.Int(13).tag(sync=True)
    command = traitlets.Unicode("").tag(sync=True)
    running = traitlets.Bool(True).tag(sync=True)

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(
            command=terminal.command, rows=terminal.rows, columns=terminal.columns,
            running=terminal.running, font_size=round(style.SIZES["body"] + 1),
        )  # fmt: skip
        self._terminal = terminal
        self.on_msg(self._received)

    def _received(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if "keys" in message:
            self._terminal.press(str(message["keys"]))
        elif message.get("close"):
            self._terminal.close()
        elif message.get("ready"):
            self.send({"all": self._terminal.printed})


SHELL = ("sh",)
# ECMA-48: control sequences, and operating system commands up to BEL or ST; ECMA-35: other escapes;
# and any of these that the text ends within
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|\r"
    r"|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)\Z"
)
_of_cell: weakref.WeakValueDictionary[str, Terminal] = weakref.WeakValueDictionary()


def control_free(text: str) -> str:
    """Leave control sequences out, and one at the end that has not all been printed yet."""
    return _CONTROL.sub("", text)


class Terminal(Closing):
    """A shell to type into: `Terminal(box)`, `Terminal(container)`, or `Terminal()` for here.

    As the last line of a cell it is shown there. `type()` types, `await expect()` waits for words,
    `await line()` for a whole line with them,
    `transcript` is all that was printed, without control characters. It ends with `close()`, when
    its cell is run again, and with the notebook. Raises `LabError`.
    """

    def __init__(
        self, inside: Any = None, argv: Sequence[str] = SHELL, *, rows: int = 14, columns: int = 90
    ) -> None:
        self._of = inside
        line = _line(inside, argv)
        self.command = trace.command(line)
        self._process, self._master = _start(line, rows, columns)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.printed = ""
        self._typed: list[str] = []
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._widget: Any = None
        self._handle: Any = None
        self.rows, self.columns = rows, columns
        self.running = True
        self._loop.add_reader(self._master, self._readable)
        _replace(self)

    @property
    def transcript(self) -> str:
        """All that was printed so far, without control characters."""
        return control_free(self.printed)

    def type(self, keys: str) -> None:
        """Type; a new line is the Return key. Raises `LabError`."""
        if not self.running:
            raise LabError("this terminal is closed", "its program has ended",
                                 "run again the cell that made it")  # fmt: skip
        self._typed += keys.split("\n")[:-1]
        self.press(keys.replace("\n", "\r"))

    def press(self, keys: str) -> None:
        """Let the program have keys; the last ones may come when it has just ended."""
        if self.running:
            os.write(self._master, keys.encode())

    async def expect(self, words: str, seconds: float = 100) -> str:
        """Wait until these words have been printed; return the transcript. Raises `LabError`."""
        await self._until(lambda: words in self.transcript, words, seconds)
        return self.transcript

    async def line(self, words: str, seconds: float = 100) -> str:
        """Wait for a line with these words that has ended; return it from there. Raises `LabError`.

        The echo of what was typed is not meant, and a prompt may come late, or before the answer.
        """

        def found() -> list[str]:
            lines = self.transcript.split("\n")[:-1]
            return [
                line[line.index(words) :]
                for line in lines
                if words in line and not any(keys in line for keys in self._typed)
            ]

        await self._until(found, words, seconds)
        return found()[-1]

    async def _until(self, met: Callable[[], object], words: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not met() and self.running:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        if not met():
            raise LabError(f"{words!r} was not printed within {seconds:g} s",
                             f"the terminal shows {self.transcript[-300:]!r}")  # fmt: skip

    def close(self) -> None:
        """Hang up; what was printed stays in the cell. May be called twice.

        A program that does not end then is killed.
        """
        if not self.running:
            return
        self.running = False
        self._loop.remove_reader(self._master)
        os.close(self._master)
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._news.set()
        if self._widget is not None:
            self._widget.running = False
        if self._handle is not None:
            self._handle.update({**self._data, **self._still()}, raw=True)

    def __repr__(self) -> str:
        return f"$ {self.command}\n{self.transcript}"

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the slave side open any more
            data = b""
        text = self._decoder.decode(data)
        self.printed += text
        if self._widget is not None:
            self._widget.send({"output": text})
        self._news.set()
        if not data:
            self.close()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self._widget = self._widget or TerminalWidget(self)
        bundle = self._widget._repr_mimebundle_()
        self._data = bundle[0] if isinstance(bundle, tuple) else bundle
        shown: Any = display  # which has no types
        self._handle = shown({**self._data, **self._still()}, raw=True, display_id=True)

    def _still(self) -> dict[str, str]:
        """What readers without a kernel see: the command, and all that was printed."""
        lines = html.escape(self.transcript)
        line = f"<b>$ {html.escape(self.command)}</b>"
        return {"text/html": f"<pre>{line}\n{lines}</pre>", "text/plain": repr(self)}


def _line(inside: Any, argv: Sequence[str]) -> list[str]:
    """Return the command that starts the program there."""
    if inside is None:
        return list(argv)
    if isinstance(inside, Sandbox):
        return launch.nsenter(inside.new, inside.pid, argv)
    container = getattr(inside, "container", inside)
    if not hasattr(container, "client"):
        raise mistaken(inside, "a sandbox or a container", "Terminal(box), or Terminal() for here")
    tool = getattr(getattr(inside, "engine", None), "kind", "docker")
    return [tool, "exec", "-it", container.name, *argv]


def _replace(new: Terminal) -> None:
    """Close the terminal that the same cell has made before; Jupyter gives each cell an id."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    if cell := parent.get("metadata", {}).get("cellId"):
        if old := _of_cell.get(cell):
            old.close()
        _of_cell[cell] = new
