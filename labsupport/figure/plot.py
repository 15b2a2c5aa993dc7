"""Pictures with axes, drawn by matplotlib: in the course's style, and shown as a small PNG."""

import io
import os
from collections.abc import Sequence
from typing import Any

from matplotlib import rcdefaults
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from labsupport.figure import style

rcdefaults()  # a matplotlibrc of the user's may draw white words, or ask for TeX


def new_figure(width: float = 8.6, height: float = 4.0) -> Figure:
    """Return an empty figure, in inches, with a light background that looks well on dark pages."""
    figure = Figure(figsize=(width, height), dpi=style.PIXELS_PER_INCH, facecolor=style.PAPER)
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
    figure.set_dpi(style.PIXELS_PER_INCH * sharpness)
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


def show(figure: Figure, alt: str, table: Sequence[Sequence[object]] = ()) -> None:
    """Display a figure in the notebook, with a text alternative and the table behind it."""
    style.display_picture(png(figure), alt, table, pixels(figure))


def pixels(figure: Figure) -> int:
    """Return the width at which a figure is shown, in CSS pixels."""
    return round(figure.get_figwidth() * style.PIXELS_PER_INCH)
