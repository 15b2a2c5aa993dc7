"""One visual language: what a colour means, how large words are, how a picture is shown.

Colours are the Okabe-Ito set, safe for colour-blind eyes. Colour means *who*, and is never alone: a
word, shape or hatch goes with it.
"""

import base64
import html
from collections.abc import Sequence
from typing import Any

HOST = "#0072B2"
FIRST, SECOND, THIRD = "#E69F00", "#009E73", "#CC79A7"
KERNEL = "#D55E00"  # the kernel's intervention: an OOM kill, a refusal, an end
SHARED = "#7F7F7F"
INK, PAPER = "#1A1A1A", "#FFFFFF"
WHO = (FIRST, SECOND, THIRD)
QUIET, PALE = "#5A5A5A", "#B5BCC2"  # words of less importance; lines that lead nowhere
FAINT = "#F2F2F2"  # a background
COLOURS = {HOST, *WHO, KERNEL, SHARED, INK, PAPER, QUIET, PALE, FAINT}
"""All that a picture is drawn in; a lighter face is one of these with an alpha."""

SIZES = {"small": 11.0, "body": 12.0, "large": 15.0, "title": 16.0}  # of words, in points
PIXELS_PER_INCH = 100


def bundle(
    picture: bytes, alt: str, table: Sequence[Sequence[object]] = (), width: int | None = None
) -> dict[str, Any]:
    """Return a cell output: the picture with its text alternative, and its data behind one click.

    The picture is a PNG, or SVG. `table` has a row of headings first. Readers without HTML get the
    picture, or the words.
    """
    data = base64.b64encode(picture).decode()
    is_svg = picture.startswith(b"<svg")
    kind = "image/svg+xml" if is_svg else "image/png"
    size_ = f" width='{width}'" if width else ""
    markup = (
        f"<figure style='margin:0'><img alt='{html.escape(alt, quote=True)}'{size_} "
        f"style='max-width:100%;border-radius:6px' src='data:{kind};base64,{data}'>"
        f"{_details(table)}</figure>"
    )
    return {"text/html": markup, kind: picture.decode() if is_svg else data, "text/plain": alt}


def _details(table: Sequence[Sequence[object]]) -> str:
    if not table:
        return ""
    head, *rows = table
    cells = "".join(f"<th scope='col'>{html.escape(str(cell))}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        "<figcaption><details><summary>The same as a table</summary>"
        f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
        "</details></figcaption>"
    )
