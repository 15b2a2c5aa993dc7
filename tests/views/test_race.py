"""The pictures of the race, from data."""

import dataclasses

import pytest

from labsupport.race.results import BreakOut, Entrant, bytes_in_words, time_in_words
from labsupport.views import race, style, wish_matrix

OPEN = BreakOut(True, True, True, True, False, False)
CLOSED = BreakOut(False, False, False, False, True, False)
MACHINE = BreakOut(True, False, False, False, True, True)
ENTRANTS = [
    Entrant("process", "", (0.03, 0.04, 0.2), (5_000_000,) * 3, got=OPEN),
    Entrant("container", "", (0.4, 0.3, 0.5), (20_000_000,) * 3, 133_000_000, "image", 4.2,
            "load the image", got=CLOSED),
    Entrant("virtual machine", "", (19.0,), (380_000_000,), 11_000_000, "kernel", got=MACHINE),
    Entrant("Lab VM", "it is one already"),
]  # fmt: skip


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda it: hasattr(it, "get_text"))]


def test_the_title_sets_the_others_beside_a_process():
    assert race.finding(ENTRANTS) == "Process 40 ms, container 10× that, virtual machine 475×"  # noqa: RUF001


def test_a_bar_ends_at_the_median_and_every_start_is_a_point():
    time = race.draw(ENTRANTS).axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in time.patches]
    assert [round(end, 6) for end in ends] == [0.04, 0.4, 19.0]
    assert [len(line.get_xdata()) for line in time.lines] == [3, 3, 1]


def test_what_is_awaited_grows_and_has_no_median_yet():
    waiting = dataclasses.replace(ENTRANTS[0], starts=(), running_seconds=7.31)
    figure = race.draw([waiting], over=False)
    assert "7.3 s …" in texts(figure)
    assert "Who answers first?" in texts(figure)


def test_who_is_not_here_says_why_and_has_no_bar():
    figure = race.draw(ENTRANTS)
    assert "not here: it is one already" in texts(figure)
    assert "Lab VM: not here, it is one already." in race.words(ENTRANTS)
    assert race.table(ENTRANTS)[-1][1] == "it is one already"


@pytest.mark.parametrize("starts", [(0.43, 0.46, 0.48), (4.3, 4.4, 4.6), (44.0, 45.0, 46.0)])
def test_the_slowest_ones_words_end_before_the_next_panel(starts):
    slowest = dataclasses.replace(ENTRANTS[2], starts=starts)
    figure = race.draw([*ENTRANTS[:2], slowest])
    time, memory, _ = figure.axes
    ends = [text.get_window_extent().x1 for text in time.texts]
    assert max(ends) < memory.get_window_extent().x0


def test_the_scale_holds_the_fastest_and_the_slowest():
    left, right = race.draw(ENTRANTS).axes[0].get_xlim()
    assert left < 0.04
    assert right > 19


def test_a_disk_that_is_not_all_has_a_star():
    assert "11 MB*" in texts(race.draw(ENTRANTS))
    assert "133 MB" in texts(race.draw(ENTRANTS))


def test_the_matrix_counts_the_walls_that_held():
    assert wish_matrix.walls(CLOSED) == (True,) * 5 + (False,)
    assert wish_matrix.finding(ENTRANTS) == "Walls that held: container 5, virtual machine 5 of 6"


def test_the_matrix_has_a_mark_for_each_wall_and_a_word_for_each_colour():
    figure = style.new_figure(10, 5)
    wish_matrix.draw(figure.add_axes((0, 0, 1, 1)), ENTRANTS)
    marks = texts(figure)
    assert marks.count("✕") == 6 + 1
    assert marks.count("✓") == 5 + 5
    assert marks.count("✕*") == 1
    assert "not here: it is one already" in marks
    assert "own kernel: no" in wish_matrix.words(ENTRANTS)


def test_what_had_to_be_set_up_has_its_time():
    rows = {row[0]: row for row in wish_matrix.table(ENTRANTS)}
    assert rows["container"][1] == "4.2 s"
    assert rows["process"][1] == "0"
    assert len({len(row) for row in rows.values()}) == 1


def test_times_and_amounts_in_words():
    assert [time_in_words(n) for n in (0.0421, 1.94, 23.4)] == ["42 ms", "1.9 s", "23 s"]
    assert [bytes_in_words(n) for n in (0, 167, 9_300, 5_000_000, 382e6)] == [
        "0", "167 B", "9.3 kB", "5.0 MB", "382 MB",
    ]  # fmt: skip
