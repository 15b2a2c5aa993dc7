"""What holds for every picture of the course; each room's `samples.py` makes some of its own.

`PAGES` maps a name to what returns a `Page`, its words and its table.
"""

from importlib import import_module
from itertools import combinations
from pathlib import Path

import pytest

from labsupport.figure import style
from tests.figure import sheet
from tests.toys import CHECKOUT

SAMPLES = {
    f"{path.parent.name}-{name}": make
    for path in sorted(Path(CHECKOUT, "tests").glob("*/samples.py"))
    for name, make in import_module(f"tests.{path.parent.name}.samples").PAGES.items()
}
every = pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES.keys())


@every
def test_every_word_is_on_the_page_and_can_be_read(make):
    page, _, _ = make()
    high = page.pixels * page.height / page.width
    for line in sheet.lines(page):
        assert 0 <= line.left <= line.right <= page.pixels, line
        assert line.pixels * 0.75 <= line.baseline <= high - line.pixels * 0.2, line
        assert line.pixels >= style.SIZES["small"] * style.PIXELS_PER_INCH / 72 - 0.1, line


@every
def test_no_line_of_words_lies_on_another(make):
    page, _, _ = make()
    for one, other in combinations(sheet.lines(page), 2):
        beside = one.right < other.left + 1 or other.right < one.left + 1
        apart = abs(one.baseline - other.baseline) >= 0.7 * max(one.pixels, other.pixels)
        assert beside or apart, (one, other)


@every
def test_the_words_begin_with_what_the_title_says(make):
    page, words, _ = make()
    assert words.startswith(page.title.rstrip("."))


@every
def test_the_table_has_headings_and_whole_rows(make):
    _, _, table = make()
    head, *rows = table
    assert rows
    assert {len(row) for row in rows} == {len(head)}


@every
def test_the_colours_of_a_page_are_the_styles(make):
    assert sheet.colours(make()[0]) <= {colour.lower() for colour in style.COLOURS}
