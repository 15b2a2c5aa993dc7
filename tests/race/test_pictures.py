"""The pictures of the race, from data."""

import dataclasses

import pytest

from labsupport.figure.page import Page
from labsupport.race import race
from tests.figure import sheet
from tests.race.samples import ENTRANTS


def panel(kind, values):
    """Return a panel for so many entrants, and the page on which it alone is."""
    page = Page(60, inches=race.WIDTH)
    return race.panel(page, kind, kind, values), page


def bars(axes):
    """Return how long each bar is, in what the scale counts, and whether it is filled."""
    unit = axes.page.pixels / axes.page.width
    rects = [look for tag, look in sheet.shapes(axes.page) if tag == "rect" and "x" in look]
    return [
        (round(float(look["width"]) / unit / axes.wide * axes.end, 2), look["fill"] != "none")
        for look in rects
    ]


def test_the_title_sets_the_others_beside_a_process():
    title = "Process 40 ms, container 10× that, virtual machine 48×"  # noqa: RUF001
    assert race.race_finding(ENTRANTS) == title


def test_a_bar_is_as_long_as_its_median_and_every_start_is_a_point():
    time, page = panel("time", [max(each.starts, default=0) for each in ENTRANTS])
    for row, each in enumerate(ENTRANTS):
        race.draw_time(time, row, each)
    assert [long for long, _ in bars(time)] == pytest.approx([0.04, 0.4, 1.9], abs=0.01)
    points = [look for tag, look in sheet.shapes(page) if tag == "circle"]
    assert len(points) == 3 + 3 + 1
    first = float(points[0]["cx"]) / page.pixels * page.width
    assert time.end * (first - time.left) / time.wide == pytest.approx(0.03, abs=0.01)


def test_who_is_not_here_says_why_and_has_no_bar():
    assert "not here: it is one already" in sheet.texts(race.race_page(ENTRANTS))
    assert "another: not here, it is one already." in race.race_words(ENTRANTS)
    assert race.race_table(ENTRANTS)[-1][1] == "it is one already"


@pytest.mark.parametrize("starts", [(0.43, 0.46, 0.48), (4.3, 4.4, 4.6), (44.0, 45.0, 46.0)])
def test_the_slowest_ones_words_end_before_the_next_panel(starts):
    time, page = panel("time", starts[-1:])
    race.draw_time(time, 0, dataclasses.replace(ENTRANTS[2], starts=starts))
    ends = [line.right for line in sheet.lines(page)]
    assert max(ends) / page.pixels * page.width < race.PANELS["memory"][0]


def test_the_matrix_has_a_mark_for_each_wall_and_a_time_for_what_was_set_up():
    table = race.matrix(ENTRANTS)
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.finding == "Walls that held: container 5, virtual machine 6 of 6"
    assert rows["container"][:7] == ("4.2 s", *"✓✓✓✓✓✕")
    assert (rows["process"][0], rows["process"].count("✕")) == ("0", 6)
    assert rows["another"][0] == "not here: it is one already"
