"""One visual language: what a colour means, how large words are, how a picture is shown.

Colours are the Okabe-Ito set, safe for colour-blind eyes. Colour means *who*, and is never alone: a
word, shape or hatch goes with it.
"""

import base64
import html
import io
import os
from collections.abc import Sequence
from typing import Any

from matplotlib import rcdefaults
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

rcdefaults()  # a matplotlibrc of the user's may draw white words, or ask for TeX
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

SIZES = {"small": 11.0, "body": 12.0, "large": 15.0, "title": 16.0}
PIXELS_PER_INCH = 100


def size(name: str) -> float:
    """Return a font size in points: small, body, large or title."""
    return SIZES[name]


def new_figure(width: float = 8.6, height: float = 4.0) -> Figure:
    """Return an empty figure, in inches, with a light background that looks well on dark pages."""
    figure = Figure(figsize=(width, height), dpi=PIXELS_PER_INCH, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Draw a figure and return it as a small PNG of at most 128 colours.

    It has 1.25 pixels for each of the page's, or `LAB_SHARPNESS` (1: notebooks saved for git).
    """
    from PIL import Image

    sharpness = float(os.environ.get("LAB_SHARPNESS", "1.25"))

    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        raise TypeError("a figure of new_figure() is needed")
    figure.set_dpi(PIXELS_PER_INCH * sharpness)
    as_written(figure)
    canvas.draw()
    image = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())
    file = io.BytesIO()
    few_colours(image.convert("RGB")).save(file, "png", compress_level=4)
    return file.getvalue()


def as_written(artist: Artist) -> None:
    """Keep matplotlib from taking text for a formula: a Dockerfile's `$` is just a dollar sign."""
    for text in artist.findobj(Text):
        text.set_parse_math(False)


def few_colours(image: Any, exact: int = 48) -> Any:
    """Reduce a PIL image in RGB to 128 colours; the `exact` most frequent ones stay as they are.

    An octree alone averages the colours that it puts together: paper turns grey, and light areas
    become paper.
    """
    import numpy as np
    from PIL import Image

    counted = sorted(image.getcolors(image.width * image.height), reverse=True)
    colours = np.array([colour for _, colour in counted])
    rough = image.quantize(128 - exact, method=Image.Quantize.FASTOCTREE).getpalette()
    palette = np.concatenate([colours[:exact], np.reshape(rough, (-1, 3))])[:128]
    nearest = ((colours[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1)
    entry = np.zeros(1 << 24, np.uint8)  # by colour; only the pages of those here are touched
    entry[colours @ (1, 1 << 8, 1 << 16)] = nearest
    pixels = np.frombuffer(image.convert("RGBA").tobytes(), "<u4") & 0xFFFFFF
    few = Image.frombytes("P", image.size, entry[pixels].tobytes())
    few.putpalette(palette.astype(np.uint8).tobytes())
    return few


def bundle(
    picture: bytes, alt: str, table: Sequence[Sequence[object]] = (), width: int | None = None
) -> dict[str, Any]:
    """Return a cell output: the picture with its text alternative, and its data behind one click.

    `table` has a row of headings first. Readers without HTML get the PNG, or the words.
    """
    data = base64.b64encode(picture).decode()
    size_ = f" width='{width}'" if width else ""
    markup = (
        f"<figure style='margin:0'><img alt='{html.escape(alt, quote=True)}'{size_} "
        f"style='max-width:100%;border-radius:6px' src='data:image/png;base64,{data}'>"
        f"{_details(table)}</figure>"
    )
    return {"text/html": markup, "image/png": data, "text/plain": alt}


def show(figure: Figure, alt: str, table: Sequence[Sequence[object]] = ()) -> None:
    """Display a figure in the notebook, with a text alternative and the table behind it."""
    from IPython.display import display

    display(bundle(png(figure), alt, table, pixels(figure)), raw=True)


def pixels(figure: Figure) -> int:
    """Return the width at which a figure is shown, in CSS pixels."""
    return round(figure.get_figwidth() * PIXELS_PER_INCH)


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
