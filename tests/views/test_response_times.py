"""Response times and shares: their words, histograms and pictures, from plain data."""

import itertools

import pytest

from labsupport.neighbour import ResponseTimes
from labsupport.views import response_times, shares, style

FAST = ResponseTimes("alone", tuple(0.002 + 0.00001 * n for n in range(100)))
SLOW = ResponseTimes("beside burners", tuple(0.010 + 0.001 * n for n in range(100)))


def test_the_99th_percentile_is_what_99_of_100_kept_to():
    times = ResponseTimes("x", tuple(float(n) for n in range(1, 101)))
    assert (times.median, times.p99, times.mean) == (50.5, 99, 50.5)
    assert ResponseTimes("x", (1.0,)).p99 == 1


def test_every_answer_is_in_one_bar():
    at = response_times.edges([FAST, SLOW])
    assert at[0] <= 2 <= at[1]
    assert at[-2] <= 109 <= at[-1]
    for times in (FAST, SLOW):
        assert sum(response_times.bars(times, at).shares) == pytest.approx(1)
    assert sum(response_times.bars(FAST, at).shares[:4]) == pytest.approx(1)
    assert response_times.bars(SLOW, at).shares[0] == 0


def test_title_and_words_tell_the_tail():
    assert (
        response_times.finding([FAST, SLOW]) == "99 % within: alone 3.0 ms, beside burners 108 ms"
    )
    assert "beside burners: 100 answers, median 60 ms" in response_times.words([FAST, SLOW])
    assert response_times.table([FAST, SLOW])[2][:3] == ("beside burners", 100, "60 ms")


def test_the_picture_names_both_figures_of_each(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "show", lambda figure, alt, table: shown.append(figure))
    response_times.show_response_times(FAST, SLOW)
    text = [text.get_text() for axes in shown[0].axes for text in axes.texts]
    assert "median 60 ms\n99 % within 108 ms" in text
    assert {"alone", "beside burners"} <= set(text)


@pytest.mark.parametrize("slowest", [0.0999, 0.4999])
def test_the_scales_last_word_is_whole(monkeypatch, slowest):
    """It stands in the middle below the end of the axis."""
    shown = []
    monkeypatch.setattr(style, "show", lambda figure, alt, table: shown.append(figure))
    response_times.show_response_times(FAST, ResponseTimes("slow", (0.002, slowest)))
    [figure] = shown
    axes = figure.axes[-1]
    ends = [text.get_window_extent().x1 for text in (*axes.get_xticklabels(), *axes.texts)]
    assert max(ends) < figure.bbox.x1


@pytest.mark.parametrize("middle", [0.00201, 0.06, 0.099])
def test_names_at_the_lines_do_not_meet(monkeypatch, middle):
    shown = []
    monkeypatch.setattr(style, "show", lambda figure, alt, table: shown.append(figure))
    response_times.show_response_times(ResponseTimes("burners limited", (0.002, middle, 0.0999)))
    boxes = [text.get_window_extent() for text in shown[0].axes[0].texts]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_shares_are_set_beside_the_promise(monkeypatch):
    shown = []
    monkeypatch.setattr(
        style, "show", lambda figure, alt, table: shown.append((figure, alt, table))
    )
    shares.show_shares({"light": (100, 0.5), "heavy": (300, 1.6)})
    [(figure, alt, table)] = shown
    assert alt.startswith("Weights 100 : 300, CPU time 1 : 3.2")
    assert ("heavy", 300, "75%", "1.60", "76%") in table
    assert any("promised: 25%" in text.get_text() for text in figure.axes[0].texts)
