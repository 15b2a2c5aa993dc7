"""A shell in a cell: in a sandbox, in a container, or on the machine where the notebook runs.

What is started is the very command that is shown beside it for an ordinary terminal: nsenter(1)
for a sandbox, `docker exec -it` for a container.
"""

from __future__ import annotations

import asyncio
import codecs
import html
import re
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labsupport import trace
from labsupport.closing import Closing
from labsupport.errors import NotPrinted, TerminalClosed
from labsupport.linux import recipes
from labsupport.linux.pseudoterminal import PseudoTerminal
from labsupport.linux.sandbox import Sandbox

if TYPE_CHECKING:
    from labsupport.engine.container_terminal import ContainerTerminal

SHELL = ("sh",)
# ECMA-48: control sequences, and operating system commands up to BEL or ST
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|\r")
_of_cell: weakref.WeakValueDictionary[str, Terminal] = weakref.WeakValueDictionary()


class Terminal(Closing):
    """A shell to type into: `Terminal(box)`, `Terminal(container)`, or `Terminal()` for here.

    As the last line of a cell it is shown there. `type()` types, `await expect()` waits for words,
    `transcript` is all that was printed, without control characters. It ends with `close()`, when
    its cell is run again, and with the notebook.

    Raises:
        SandboxEnded: the sandbox is closed.

    """

    def __init__(
        self, inside: Any = None, argv: Sequence[str] = SHELL, *, rows: int = 14, columns: int = 90
    ) -> None:
        self._of = inside
        self.command, self._program = _start(inside, argv, rows, columns)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._printed = ""
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._widget: Any = None
        self._handle: Any = None
        self.rows, self.columns = rows, columns
        self.running = True
        self._loop.add_reader(self._program.fileno(), self._readable)
        _replace(self)

    @property
    def transcript(self) -> str:
        """All that was printed so far, without control characters."""
        return _CONTROL.sub("", self._printed)

    def type(self, keys: str) -> None:
        """Type; a new line is the Return key. Raises `TerminalClosed`."""
        if not self.running:
            raise TerminalClosed("this terminal is closed", "its program has ended",
                                 "run the cell again that has made it")  # fmt: skip
        self._program.write(keys.replace("\n", "\r").encode())

    async def expect(self, words: str, seconds: float = 10) -> str:
        """Wait until these words have been printed; return the transcript. Raises `NotPrinted`."""
        try:
            async with asyncio.timeout(seconds):
                while words not in self.transcript:
                    if not self.running:
                        break
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        if words not in self.transcript:
            raise NotPrinted(f"{words!r} was not printed within {seconds:g} s",
                             f"the terminal shows {self.transcript[-300:]!r}")  # fmt: skip
        return self.transcript

    def close(self) -> None:
        """End the program; what it printed stays in the cell. Twice is once."""
        if not self.running:
            return
        self.running = False
        self._loop.remove_reader(self._program.fileno())
        self._program.close()
        self._news.set()
        if self._widget is not None:
            self._widget.running = False
        self._leave()

    def __repr__(self) -> str:
        return f"$ {self.command}\n{self.transcript}"

    def _readable(self) -> None:
        try:
            data = self._program.read()
        except BlockingIOError:
            return
        text = self._decoder.decode(data)
        self._printed += text
        if self._widget is not None:
            self._widget.write(text)
        self._news.set()
        if not data:
            self.close()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self._widget is None:
            self._widget = self._show()
        bundle = self._widget._repr_mimebundle_()
        self._data = bundle[0] if isinstance(bundle, tuple) else bundle
        shown: Any = display  # which has no types
        self._handle = shown({**self._data, **self._still()}, raw=True, display_id=True)

    def _show(self) -> Any:
        from labsupport.views import style
        from labsupport.views.terminal import TerminalWidget

        return TerminalWidget(
            self._keys, self.close, lambda: self._printed, command=self.command, rows=self.rows,
            columns=self.columns, running=self.running, font_size=round(style.size("body") + 1),
        )  # fmt: skip

    def _keys(self, keys: str) -> None:
        if self.running:  # the last keys may come when it has just ended
            self._program.write(keys.encode())

    def _still(self) -> dict[str, str]:
        """What readers without a kernel see: the command, and all that was printed."""
        lines = html.escape(self.transcript)
        line = f"<b>$ {html.escape(self.command)}</b>"
        return {"text/html": f"<pre>{line}\n{lines}</pre>", "text/plain": repr(self)}

    def _leave(self) -> None:
        if self._handle is not None:
            self._handle.update({**self._data, **self._still()}, raw=True)


def _start(
    inside: Any, argv: Sequence[str], rows: int, columns: int
) -> tuple[str, PseudoTerminal | ContainerTerminal]:
    if inside is None:
        return trace.command(argv), PseudoTerminal(argv, rows, columns)
    if isinstance(inside, Sandbox):
        line = recipes.nsenter(inside.new, inside.pid, argv)
        return trace.command(line), PseudoTerminal(line, rows, columns)
    from labsupport.engine.container_terminal import ContainerTerminal

    container = getattr(inside, "container", inside)
    line = [_tool(inside), "exec", "-it", container.name, *argv]
    return trace.command(line), ContainerTerminal(container, argv, rows, columns)


def _tool(container: Any) -> str:
    return str(getattr(getattr(container, "engine", None), "kind", "docker"))


def _replace(new: Terminal) -> None:
    """Close the terminal that the same cell has made before."""
    cell = _cell()
    if cell is None:
        return
    if old := _of_cell.get(cell):
        old.close()
    _of_cell[cell] = new


def _cell() -> str | None:
    """Return the id that Jupyter gives the running cell; None elsewhere."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if not hasattr(shell, "get_parent"):
        return None
    cell = shell.get_parent().get("metadata", {}).get("cellId")
    return str(cell) if cell else None
