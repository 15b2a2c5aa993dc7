"""Reads a page as it is drawn, by its SVG: the words, where they lie, the colours."""

from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
from PIL import ImageFont

FONTS = Path(mpl.get_data_path(), "fonts/ttf")


class Words(NamedTuple):
    """A line of text: where it is, in pixels, and its look."""

    words: str
    left: float
    baseline: float
    right: float
    pixels: float
    colour: str


def shapes(page):
    """Return all that is drawn, as XML."""
    return [
        (each.tag.rpartition("}")[2], each.attrib)
        for each in ElementTree.fromstring(page.svg()).iter()
    ]


def texts(page):
    return [line.words for line in lines(page)]


def lines(page):
    found = ElementTree.fromstring(page.svg()).iterfind("{*}text")
    return [_line(each.attrib, each.text or "") for each in found]


def _line(look, words):
    pixels = float(look["font-size"])
    long = font(look.get("font-family", ""), look.get("font-weight")).getlength(words) * pixels / 20
    before = {"middle": 0.5, "end": 1.0}.get(look.get("text-anchor"), 0.0)
    left = float(look["x"]) - before * long
    return Words(words, left, float(look["y"]), left + long, pixels, look["fill"])


@cache
def font(family, weight):
    """Return the font that the page asks for first, of 20 pixels."""
    name = "DejaVuSans" + "Mono" * ("Mono" in family)
    return ImageFont.truetype(FONTS / f"{name}{'-Bold' * bool(weight)}.ttf", 20)


def colours(page):
    """Return the colours that can be seen, without their alpha."""
    used = {look.get(what) for _, look in shapes(page) for what in ("fill", "stroke")}
    return {colour.lower() for colour in used - {None, "none"}}


def ways(page):
    """Return each line as its points, in the page's units, and its look."""
    unit = page.pixels / page.width

    def points(look):
        return [tuple(float(at) / unit for at in p.split(",")) for p in look["points"].split()]

    return [(points(look), look) for _, look in shapes(page) if "points" in look]
