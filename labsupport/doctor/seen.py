"""What a cell has shown elsewhere: its output in the saved notebook.

Only pictures and text are taken, as data: what comes out of a file never becomes markup.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Seen = Sequence[Mapping[str, str]]
"""The outputs: a bundle of `text/plain` and perhaps a picture (base64) for each."""

_PICTURES = ("image/png", "image/jpeg")
_NOTICE = "application/vnd.labsupport.skipped+json"
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST_TEXT = 20_000


def seen_elsewhere(cell_id: str | None, folder: Path) -> Seen:
    """Return what the notebook of that folder with this cell was saved with; [] if nothing."""
    for cell in cells_beside(cell_id, folder):
        if cell.get("id") == cell_id and cell.get("outputs"):
            return list(_kept(cell["outputs"]))
    return []


def cells_beside(cell_id: str | None, folder: Path) -> list[dict[str, Any]]:
    """Return all cells of the notebook of that folder that has this cell; [] if none has."""
    for path in sorted(folder.glob("*.ipynb")) if cell_id else ():
        text = path.read_text(errors="replace")
        if f'"{cell_id}"' in text and (cells := _cells(text)):
            return cells
    return []


def _cells(text: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(text)["cells"])
    except (ValueError, KeyError, TypeError):
        return []


def _kept(outputs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    said = ""
    for output in outputs:
        data = output.get("data", {})
        if _NOTICE in data:  # saved where it was not run, either
            yield from data[_NOTICE].get("seen", [])
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
