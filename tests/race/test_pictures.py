"""The pictures of the race, from data."""

import dataclasses

import pytest

from labsupport.race import race
from tests.race.samples import CLOSED, ENTRANTS


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda it: hasattr(it, "get_text"))]


def test_the_title_sets_the_others_beside_a_process():
    title = "Process 40 ms, container 10× that, virtual machine 48×"  # noqa: RUF001
    assert race.race_finding(ENTRANTS) == title


def test_a_bar_is_as_long_as_its_median_and_every_start_is_a_point():
    time = race.race_figure(ENTRANTS).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in time.patches] == [
        (0, 0.04),
        (0, 0.4),
        (0, 1.9),
    ]
    assert [len(line.get_xdata()) for line in time.lines] == [3, 3, 1]
    assert time.get_xlim()[0] == 0
    assert time.get_xscale() == "linear"


def test_who_is_not_here_says_why_and_has_no_bar():
    figure = race.race_figure(ENTRANTS)
    assert "not here: it is one already" in texts(figure)
    assert "another: not here, it is one already." in race.race_words(ENTRANTS)
    assert race.race_table(ENTRANTS)[-1][1] == "it is one already"


@pytest.mark.parametrize("starts", [(0.43, 0.46, 0.48), (4.3, 4.4, 4.6), (44.0, 45.0, 46.0)])
def test_the_slowest_ones_words_end_before_the_next_panel(starts):
    slowest = dataclasses.replace(ENTRANTS[2], starts=starts)
    figure = race.race_figure([*ENTRANTS[:2], slowest])
    time, memory, _ = figure.axes
    ends = [text.get_window_extent().x1 for text in time.texts]
    assert max(ends) < memory.get_window_extent().x0


def test_what_is_borrowed_is_hatched_behind_what_is_brought():
    figure = race.race_figure(ENTRANTS)
    disk = figure.axes[2]
    bars = [(bar.get_x(), bar.get_width(), bool(bar.get_hatch())) for bar in disk.patches]
    assert bars[:2] == [(0, 900, False), (900, 46_000_000, True)]
    assert bars[2] == (0, 133_000_000, False)
    assert "900 B + 46 MB" in texts(figure)
    assert "133 MB" in texts(figure)
    ends = [text.get_window_extent().x1 for text in disk.texts]
    assert max(ends) < figure.bbox.x1


def test_the_matrix_has_a_mark_for_each_wall_and_a_time_for_what_was_set_up():
    table = race.matrix(ENTRANTS)
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.finding == "Walls that held: container 5, virtual machine 6 of 6"
    assert CLOSED.walls == (True,) * 5 + (False,)
    assert rows["container"][:7] == ("4.2 s", *"✓✓✓✓✓✕")
    assert (rows["process"][0], rows["process"].count("✕")) == ("0", 6)
    assert rows["another"][0] == "not here: it is one already"
