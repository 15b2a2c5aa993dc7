"""Response times and shares: their words and histograms, from plain data."""

import pytest

from labsupport.cgroup import neighbour
from labsupport.cgroup.neighbour import ResponseTimes
from tests.cgroup.samples import FAST, SLOW


def test_the_90th_percentile_is_what_nine_of_ten_kept_to():
    times = ResponseTimes("x", tuple(float(n) for n in range(1, 101)))
    assert (times.median, times.p90) == (50.5, 90)
    assert ResponseTimes("x", (1.0,)).p90 == 1


def test_every_answer_is_in_one_bar():
    for axes, times in zip(neighbour.times_figure([FAST, SLOW]).axes, (FAST, SLOW), strict=True):
        assert sum(bar.get_height() for bar in axes.patches) == len(times.seconds)
        line = axes.lines[0].get_xdata()
        assert line[0] == pytest.approx(1000 * times.p90)


def test_title_words_and_table_tell_the_tail():
    assert neighbour.times_finding([FAST, SLOW]) == "Nine of ten answers within 2.9 ms, 99 ms"
    assert "beside burners: 100 answers, half within 60 ms" in neighbour.times_words([FAST, SLOW])
    assert neighbour.times_table([FAST, SLOW])[2][:3] == ("beside burners", 100, "60 ms")


@pytest.mark.parametrize("slowest", [0.0999, 0.4999])
def test_the_scales_last_word_is_whole(slowest):
    """It is in the middle below the end of the axis."""
    figure = neighbour.times_figure([FAST, ResponseTimes("slow", (0.002, slowest))])
    axes = figure.axes[-1]
    ends = [text.get_window_extent().x1 for text in (*axes.get_xticklabels(), *axes.texts)]
    assert max(ends) < figure.bbox.x1
