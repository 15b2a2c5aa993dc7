"""What holds for every picture of the course; each room's `samples.py` makes some of its own.

`PAGES` maps a name to what returns a drawn `Page` (or a figure), its words and its table.
"""

from importlib import import_module
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Patch
from matplotlib.spines import Spine
from matplotlib.text import Text

from labsupport.figure import plot, style
from labsupport.figure.page import Page
from tests.figure import sheet
from tests.toys import CHECKOUT

SAMPLES = {
    f"{path.parent.name}-{name}": make
    for path in sorted(Path(CHECKOUT, "tests").glob("*/samples.py"))
    for name, make in import_module(f"tests.{path.parent.name}.samples").PAGES.items()
}
every = pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES.keys())


def is_page(make):
    return isinstance(make()[0], Page)


pages = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for name, make in SAMPLES.items() if is_page(make)]
)
plots = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for name, make in SAMPLES.items() if not is_page(make)]
)


def drawn(make):
    figure, _, _ = make()
    plot.as_written(figure)
    figure.canvas.draw()
    return figure, [text for text in all_texts(figure) if text.get_visible() and text.get_text()]


def all_texts(figure):
    """Yield the texts, except labels of ticks that lie outside of their axis."""
    ticks = [
        tick
        for axes in figure.axes
        for axis in axes._axis_map.values()
        for tick in axis.get_major_ticks()
    ]
    out_of_sight = {
        id(label) for tick in ticks for label in (tick.label1, tick.label2) if not in_sight(tick)
    }
    yield from (text for text in figure.findobj(Text) if id(text) not in out_of_sight)


def in_sight(tick):
    low, high = sorted(tick.get_view_interval())
    return low <= tick.get_loc() <= high


@pages
def test_every_word_is_on_the_page_and_can_be_read(make):
    page, _, _ = make()
    high = page.pixels * page.height / page.width
    for line in sheet.lines(page):
        assert 0 <= line.left <= line.right <= page.pixels, line
        assert line.pixels * 0.75 <= line.baseline <= high - line.pixels * 0.2, line
        assert line.pixels >= style.SIZES["small"] * style.PIXELS_PER_INCH / 72 - 0.1, line


@plots
def test_every_word_is_within_the_plot_and_can_be_read(make):
    figure, texts = drawn(make)
    edge = figure.bbox
    for text in texts:
        box = text.get_window_extent()
        inside = edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 <= box.y1 <= edge.y1
        assert inside, text.get_text()
        assert text.get_size() >= style.SIZES["small"] - 1e-6, text.get_text()


@every
def test_the_words_begin_with_what_the_title_says(make):
    page, words, _ = make()
    title = getattr(page, "title", "")
    assert words
    if title:
        assert words.startswith(title.rstrip("."))


@every
def test_the_table_has_headings_and_whole_rows(make):
    _, _, table = make()
    head, *rows = table
    assert rows
    assert {len(row) for row in rows} == {len(head)}


@pages
def test_the_colours_of_a_page_are_the_styles(make):
    assert sheet.colours(make()[0]) <= {colour.lower() for colour in style.COLOURS}


@plots
def test_the_colours_of_a_plot_are_the_styles(make):
    figure, texts = drawn(make)
    used = {to_hex(text.get_color()) for text in texts}
    patches = [patch for patch in figure.findobj(Patch) if not isinstance(patch, Spine)]
    for patch in patches:
        for colour in (patch.get_facecolor(), patch.get_edgecolor()):
            if colour[3]:  # it can be seen
                used.add(to_hex(colour))
    black = "#000000"  # matplotlib's own, of an axis
    assert used - {black} <= {colour.lower() for colour in style.COLOURS}
