"""The three curves' words and picture, from plain data."""

from dataclasses import replace

import numpy as np
import pytest

from labsupport.views import curves, style
from labsupport.views.curves import MIB, Curves, Sample, Strike
from labsupport.views.curves_drawing import draw_backdrop, draw_curves, draw_tile, palette
from labsupport.views.painter import Painter

HIGH = 53.0
FILES = {"memory": "memory.max", "cpu": "cpu.max", "pids": "pids.max"}
KILL = Strike("oom_kill", 3.2, 3.2, 1)
BOMB = Strike("fork_refused", 4.0, 6.0, 412)


def samples(limit=64 * MIB, until=7.5):
    return tuple(
        Sample(0.1 * n, min(60, 10 * n) * MIB, limit, 0.19, 0.2, min(20, n), 20)
        for n in range(1 + round(10 * until))
    )


def data(*strikes, readings=None):
    return Curves(samples() if readings is None else readings, strikes, FILES)


def drawn_text(picture):
    axes = style.new_figure(9.2, 4.9).add_axes((0, 0, 1, 1))
    draw_curves(axes, picture)
    return [text.get_text() for text in axes.texts]


def panels(picture):
    return curves.scene(picture, HIGH).background.panels


def curve(picture, number):
    tiles = curves.scene(picture, HIGH).tiles.values()
    return [tile for tile in tiles if isinstance(tile, curves.Curve)][number]


def test_a_limit_is_named_by_its_file_and_its_value():
    text = drawn_text(data())
    assert {"limit 64 MiB", "limit 0.2 CPUs", "limit 20 tasks"} <= set(text)
    assert "memory in use, limited by memory.max" in text
    assert "now 60 MiB" in text


def test_a_kill_is_marked_with_its_name_and_time():
    assert any("OOM kill, 3.2 s" in text for text in drawn_text(data(KILL)))
    assert not any("OOM" in text for text in drawn_text(data()))
    assert "1 OOM kill, 412 forks refused" in curves.finding(data(KILL, BOMB))
    assert curves.finding(data()) == "Nothing has reached its limit"


def test_a_stretch_is_a_bar_from_its_begin_to_its_end():
    (left, right), = curve(data(BOMB), 2).bars  # fmt: skip
    width = curves.RIGHT - curves.LEFT
    assert left == pytest.approx(curves.LEFT + width * 4 / 8)
    assert right == pytest.approx(curves.LEFT + width * 6 / 8)
    assert curve(data(BOMB), 0).bars == ()


def test_a_changed_limit_is_a_step():
    before, after = (
        samples()[:30],
        [replace(s, memory_limit_bytes=32 * MIB) for s in samples()[30:]],
    )
    first, second = curve(data(readings=(*before, *after)), 0).steps
    assert first[1] == second[0]
    assert first[2] < second[2]  # the page's zero is its top
    assert second[1] == curves.RIGHT


def test_no_limit_is_no_line():
    free = tuple(replace(s, memory_limit_bytes=None) for s in samples())
    assert curve(data(readings=free), 0).steps == ()
    assert "memory.max sets no limit" in curves.words(data(readings=free))


def test_a_controller_that_is_missing_says_so():
    without = tuple(replace(s, tasks=None, task_limit=None) for s in samples())
    assert panels(data(readings=without))[2].missing
    assert "not counted here" in curves.words(data(readings=without))


def test_the_curve_stays_in_its_box_and_below_the_limit():
    for number, panel in enumerate(panels(data())):
        left, top, width, high = panel.box
        points = curve(data(), number).points
        assert all(left <= x <= left + width and top <= y <= top + high for x, y in points)
    (_, _, limit), = curve(data(), 0).steps  # fmt: skip
    assert min(y for _, y in curve(data(), 0).points) > limit


def test_the_labels_of_limit_and_value_never_touch():
    at_the_limit = data(readings=tuple(replace(s, tasks=20) for s in samples()))
    tiles = curves.scene(at_the_limit, HIGH).tiles.values()
    label = [tile for tile in tiles if isinstance(tile, curves.Label)][2]
    assert abs(label.place - panels(at_the_limit)[2].limit[0]) > 0.99 * curves.LINE_HIGH


def test_marks_that_are_too_close_share_one_name():
    close = replace(KILL, at_seconds=3.3), replace(KILL, at_seconds=7.9)
    marks = panels(data(KILL, *close))[0].marks
    assert [bool(mark.words) for mark in marks] == [True, False, True]
    assert marks[2].before  # at the end, the name stands left of its mark


def test_the_words_tell_all_that_is_drawn():
    words = curves.words(data(KILL, BOMB))
    for part in ("OOM kill, 3.2 s", "forks refused from 4.0 s", "at most 60 MiB", "pids.max is 20"):
        assert part in words


def test_the_table_has_readings_and_strikes_in_order():
    rows = curves.table(data(KILL, BOMB))
    seconds = [float(row[0]) for row in rows[1:]]
    assert seconds == sorted(seconds)
    assert any("fork refused (412 times, until 6.0 s)" in row for row in rows)


def test_repainting_gives_the_same_picture_as_painting_anew():
    def paint(*pictures):
        painter = Painter(style.new_figure(9.2, 4.9), draw_backdrop, draw_tile, palette=palette())
        for picture in pictures:
            painter.paint(curves.scene(picture, HIGH))
        return np.asarray(painter.canvas.buffer_rgba()).copy()

    early = data(readings=samples(until=3))
    assert (paint(early, data()) == paint(data())).all()
    assert (paint(early) != paint(data())).any()


def test_amounts_are_written_for_people():
    assert curves.bytes_in_words(64 * MIB) == "64 MiB"
    assert curves.bytes_in_words(300 << 10) == "300 KiB"
    assert curves.cpus_in_words(0.2) == "0.2 CPUs"
    assert curves.tasks_in_words(1) == "1 task"
    assert [curves.nice(n) for n in (0.9, 1, 42, 86)] == [1, 1, 50, 100]
