"""`# needs: cgroup.memory, ns.pid` on the first line of a cell: run it, or say why it cannot run.

The marker is a comment. Loaded by `%load_ext labsupport`, an input transformer leaves the cell
alone if all is there (so `await`, the display of the last expression and line numbers work as
ever), and otherwise puts a notice in place of the whole cell. A later cell that uses a name which
a skipped cell would have bound is skipped with it, so that one marker serves a section.

The notice carries the MIME type `application/vnd.labsupport.skipped+json` for the tests:
`{"missing": {"ns.pid": "the reason. What to do: the remedy"}}`. A misspelt name is an error. What
the saved notebook shows for the cell is kept in it as `"seen"`, folded.

A cell that is run before the one it builds on is told so, too.
"""

from __future__ import annotations

import ast
import dis
import errno
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

MIME = "application/vnd.labsupport.skipped+json"
Missing = Mapping[str, tuple[str, str]]
"""Reason and remedy for each capability that is not here."""
_ELSEWHERE = "let TMPDIR name another folder, and restart the kernel"
SHORT = {
    errno.ENOSPC: f"free some space there, or {_ELSEWHERE}",
    errno.EDQUOT: f"free some space there, or {_ELSEWHERE}",
    errno.EROFS: _ELSEWHERE,
    errno.EMFILE: "restart the kernel; `ulimit -n 4096` before ./lab allows more open files",
}
"""What helps where this machine is short of something, by the kernel's error."""
_MARKER = re.compile(r"#\s*needs\s*:(?P<names>.*)")


def load(shell: InteractiveShell) -> None:
    """Obey `# needs:` from the next cell on; loading twice does it once."""
    if not _loaded(shell):
        cells = Cells(shell)
        shell.input_transformers_cleanup.append(cells)
        shell.events.register("pre_run_cell", cells.about_to_run)
        shell.set_custom_exc((NameError, OSError), cells.explain)


def _loaded(shell: InteractiveShell) -> list[Cells]:
    return [each for each in shell.input_transformers_cleanup if isinstance(each, Cells)]


class Cells:
    """Which cells of a notebook run: the input transformer, and what it must remember.

    A name is *lost* from the skipped cell that would have bound it to the next one that binds it.
    """

    has_side_effects = True  # for IPython, which tries other transformers on unfinished cells

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._folder = Path.cwd()
        self._cell_id: str | None = None
        self._lost: dict[str, Missing] = {}
        self._told: tuple[Missing, list[str]] = ({}, [])  # the last full notice, and its cell

    def about_to_run(self, info: ExecutionInfo) -> None:
        """Remember which cell this is; a frontend that has no ids gives None."""
        self._cell_id = info.cell_id

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the cell as it is, or a line that shows a notice or raises what is wrong."""
        names, program = _split(lines)
        asked: dict[str, tuple[str, str]] = {}
        if names:  # the modules take long to load
            from labsupport.doctor.machine import probe
            from labsupport.doctor.tries import CAPABILITIES

            if wrong := [name for name in names if name not in CAPABILITIES]:
                return [_call("misspelt", wrong[0])]
            refused = probe().missing(*names)
            asked = {name: (no.reason, no.remedy) for name, no in refused.items()}
        loads, binds = uses("".join(program)) if asked or self._lost else (set(), set())
        lost = sorted(loads & self._lost.keys())
        missing = {need: why for name in lost for need, why in self._lost[name].items()} | asked
        if not missing:
            self._told = ({}, [])
            self._lost = {name: why for name, why in self._lost.items() if name not in binds}
            return program if program and program[0].startswith("%%") else lines
        for name in binds:
            bound = self._shell.user_ns.get(name)
            if not isinstance(bound, ModuleType | FunctionType | type):  # what others have imported
                self._lost[name] = missing
        again = self._told[0] == missing and self._told[1] != lines
        if not again:
            self._told = (missing, lines)
        return [_call("show_notice", missing, lost, again)]

    def seen_elsewhere(self) -> Seen:
        """Return what the notebook of this folder was saved with for this cell; [] if nothing."""
        for cell in cells_beside(self._cell_id, self._folder):
            if cell.get("id") == self._cell_id and cell.get("outputs"):
                return list(_kept(cell["outputs"]))
        return []

    def explain(
        self, shell: InteractiveShell, kind: type[BaseException], error: Any,
        traceback: TracebackType, tb_offset: int | None = None,
    ) -> None:  # fmt: skip
        """Show an error; where a remedy is known, with that in place of a traceback."""
        explained = self._of_another_cell if issubclass(kind, NameError) else _of_shortage
        if words := explained(error):
            error._render_traceback_ = lambda: [words]
        shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)

    def _of_another_cell(self, error: NameError) -> str:
        """If another cell makes the name, tell what to run first."""
        name = error.name or ""
        cells = cells_beside(self._cell_id, self._folder)
        others = ["".join(each["source"]) for each in cells
                  if each["cell_type"] == "code" and each.get("id") != self._cell_id]  # fmt: skip
        if not any(name in uses(source)[1] for source in others if name in source):
            return ""
        return (
            f"NameError: `{name}` is not there yet: another cell of this notebook makes "
            "it, and has not been run since the last restart\n"
            "What to do: choose “Run All Above Selected Cell” in the menu Run"
        )


def _of_shortage(error: OSError) -> str:
    """If this machine ran short of something, say what gives more of it."""
    remedy = SHORT.get(error.errno or 0)
    return f"{type(error).__name__}: {error}\nWhat to do: {remedy}" if remedy else ""


def _split(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the capabilities that a cell asks for, and what follows that line."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    marker = _MARKER.fullmatch(lines[filled[0]].strip()) if filled else None
    if not marker:
        return [], lines
    return marker["names"].replace(",", " ").split(), lines[filled[1] :] if filled[1:] else []


def _call(function: str, *arguments: object) -> str:
    said = ", ".join(map(repr, arguments))
    return f"__import__('labsupport.doctor.needs').doctor.needs.{function}({said})\n"


def misspelt(name: str) -> None:
    """Raise the error for a name that is not a capability, in the cell that holds it."""
    from labsupport.doctor.machine import unknown

    raise unknown(name)


def show_notice(missing: Missing, lost: list[str], again: bool) -> None:
    """Display why this cell did not run; it is called in its place."""
    from IPython import get_ipython
    from IPython.display import display

    for cells in _loaded(get_ipython()):
        display(bundle(missing, lost, again, cells.seen_elsewhere()), raw=True)


# Which names a cell uses: the compiler knows.


def uses(source: str) -> tuple[set[str], set[str]]:
    """Return the names that a cell reads before it has bound them, and those that it binds.

    A name that it asks for, by `"name" in globals()`, it can do without: so are things cleaned up.
    """
    # a cell that is not Python reads and binds nothing; of cell magics, `%%shell` is understood
    from IPython.core.inputtransformer2 import TransformerManager

    source = re.sub(r"\A(?:[ \t]*(?:#.*)?\n)+(?=%%)", "", source)  # as `# needs:` stands above
    if source.startswith("%%"):
        return _uses_of_magic(source.partition("\n")[0])
    try:
        plain = TransformerManager().transform_cell(source)
        code = compile(plain, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return set(), set()
    loads: set[str] = set()
    binds: set[str] = set()
    for operation, name in _names(code):
        if operation.startswith("STORE"):
            binds.add(name)
        elif name not in binds:
            loads.add(name)
    return loads - {*re.findall(r"[\"'](\w+)[\"'] in globals\(\)", source)}, binds


def _names(code: CodeType, inner: bool = False) -> Iterator[tuple[str, str]]:
    """Yield what is done with which global name, in the order of the cell."""
    for step in dis.get_instructions(code):
        if isinstance(step.argval, CodeType):
            yield from _names(step.argval, inner=True)
        elif step.opname in _GLOBAL or (step.opname == "STORE_NAME" and not inner):
            yield step.opname, step.argval


_GLOBAL = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_NAME", "STORE_GLOBAL"}


def _uses_of_magic(line: str) -> tuple[set[str], set[str]]:
    """Read `%%shell in BOX as NAME pid=EXPRESSION`."""
    loads: set[str] = set()
    binds: set[str] = set()
    magic, *words = line.split()
    for before, word in zip([magic, *words], words, strict=False):
        if magic == "%%shell" and before == "as":
            binds.add(word)
        elif magic == "%%shell":
            loads |= uses(word if before == "in" else word.partition("=")[2])[0]
    return loads, binds


# The notice.


def bundle(
    missing: Missing, lost: Sequence[str] = (), again: bool = False, seen: Seen = ()
) -> dict[str, Any]:
    """Return the notice for people (HTML, text) and for the tests (JSON)."""
    told = {
        name: f"{reason}. What to do: {remedy}" if remedy else reason
        for name, (reason, remedy) in missing.items()
    }
    more = "Everything else goes on; " + (_UNFOLD if seen else "the text below tells the rest.")
    lines = [f"Not run here: this step needs {' and '.join(missing)}."]
    lines += [f"  {name}: {why}" for name, why in told.items()]
    why = f"it needs {' and '.join(missing)}, too"
    if lost:
        why = f"it builds on {' and '.join(lost)}, which the skipped step would have made"
    short = f"Not run either: {why}."
    look = "opacity:.75;font-style:italic"
    quiet = f"<div role='note' style='{look}'>{html.escape(short)}</div>"
    return {
        MIME: {"missing": told, **({"seen": list(seen)} if seen else {})},
        "text/html": (quiet if again else _full(missing, more)) + folded(seen),
        "text/plain": short if again else "\n".join([*lines, more]),
    }


_UNFOLD = "what it shows where it can run is folded below."


def _full(missing: Missing, more: str) -> str:
    items = "".join(
        f"<dt style='margin-top:.5em'><code style='background:none;color:inherit;font-weight:bold'>"
        f"{html.escape(name)}</code></dt><dd style='margin:0 0 0 1.5em'>{html.escape(reason)}."
        + (f"<br><b>What to do:</b> {html.escape(remedy)}" if remedy else "")
        + "</dd>"
        for name, (reason, remedy) in missing.items()
    )
    return (
        "<div role='note' aria-label='This step was not run' style='border-left:5px solid #E69F00;"
        "background:rgba(230,159,0,.12);padding:.6em 1em;border-radius:3px;max-width:52em'>"
        f"<b>Not run here.</b> This step needs what this machine does not have:"
        f"<dl style='margin:.2em 0 .6em'>{items}</dl>{html.escape(more)}</div>"
    )


# --- what a cell has shown elsewhere: its output in the saved notebook ----------------------------
# Only pictures and text are taken, as data: what comes out of a file never becomes markup.

Seen = Sequence[Mapping[str, str]]
"""The outputs: a bundle of `text/plain` and perhaps a picture (base64) for each."""

_PICTURES = ("image/png", "image/jpeg")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST_TEXT = 20_000


def cells_beside(cell_id: str | None, folder: Path) -> list[dict[str, Any]]:
    """Return all cells of the notebook of that folder that has this cell; [] if none has."""
    for path in sorted(folder.glob("*.ipynb")) if cell_id else ():
        text = path.read_text(errors="replace")
        if f'"{cell_id}"' in text:
            with suppress(ValueError, KeyError, TypeError):  # it is not a notebook
                return list(json.loads(text)["cells"])
    return []


def _kept(outputs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    said = ""
    for output in outputs:
        data = output.get("data", {})
        if MIME in data:  # saved where it was not run, either
            yield from data[MIME].get("seen", [])
            continue
        failed = f"{output['ename']}: {output['evalue']}" if output.get("ename") else ""
        text = _text(output.get("text", "")) or _text(data.get("text/plain", "")) or failed
        picture = {kind: _text(data[kind]) for kind in _PICTURES if kind in data}
        if picture or (text and text != said):  # a saved picture is followed by its words
            yield {"text/plain": _COLOURS.sub("", text)[:_LONGEST_TEXT], **picture}
        said = text


def _text(lines: str | Sequence[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def folded(seen: Seen) -> str:
    """Return the outputs as HTML, behind one click; "" if there are none."""
    if not seen:
        return ""
    shown = "".join(map(_shown, seen))
    return f"<details style='margin-top:.4em'><summary>Seen elsewhere</summary>{shown}</details>"


def _shown(output: Mapping[str, str]) -> str:
    text = html.escape(str(output.get("text/plain", "")))
    for kind in _PICTURES:
        if data := output.get(kind):
            source = f"data:{kind};base64,{html.escape(data.strip())}"
            return f"<img alt='{text}' style='max-width:100%' src='{source}'>"
    return f"<pre style='white-space:pre-wrap'>{text}</pre>"
