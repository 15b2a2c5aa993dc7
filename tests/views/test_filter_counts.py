"""How many calls are refused to whom, beside the lecture's number: from data."""

import pytest

from labsupport import Filter
from labsupport.views import filter_counts, style

WHO = {
    "docker run": Filter.deny(["mount", "reboot", "swapon"]).verdicts(),
    "unconfined": Filter(()).verdicts(),
}
TOTAL = len(WHO["unconfined"])


@pytest.fixture
def axes():
    axes = style.new_figure(8.6, 3).add_axes(filter_counts.MARGINS)
    filter_counts.draw(axes, WHO)
    return axes


def test_the_title_sets_the_lectures_number_beside_the_count():
    assert filter_counts.finding(WHO) == f"The lecture says 44; docker run here: 3 of {TOTAL}"


def test_the_bars_are_as_long_as_the_counts(axes):
    assert [bar.get_width() for bar in axes.patches if bar.get_width()] == [3]


def test_the_lectures_number_is_a_line_with_its_value_on_it(axes):
    assert [line.get_xdata()[0] for line in axes.lines] == [44]
    assert "the lecture: 44" in [text.get_text() for text in axes.texts]


def test_words_and_table_say_the_same():
    assert f"unconfined: none of {TOTAL} system calls is refused." in filter_counts.words(WHO)
    assert filter_counts.table(WHO)[1] == ("docker run", TOTAL - 3, 0, 3, TOTAL)
