"""The curves' words and picture, from plain data."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from labsupport.cgroup import curves
from labsupport.cgroup.curves import MIB, Plot
from tests.cgroup.samples import BOMB, KILL, drawn, readings, watched


def changed(**values):
    return watched(samples=tuple(replace(sample, **values) for sample in readings()))


def panel(data, number):
    """Return the drawn panel of one kind: memory, CPUs, tasks, disk."""
    plot = Plot()
    plot.draw(data)
    return plot._panels[number]


def drawn_text(data):
    figure = drawn(data)
    texts = [text for axes in figure.axes for text in axes.texts if text.get_visible()]
    return [text.get_text().strip() for text in (*figure.texts, *texts)]


def test_a_limit_is_named_by_its_file_and_its_value():
    wanted = {"limit 64 MiB", "limit 0.2 CPUs", "limit 20 tasks", "limit 2 MiB/s", "now 60 MiB"}
    assert wanted <= set(drawn_text(watched()))
    assert "memory in use, limited by memory.max" in drawn_text(watched())


def test_a_kill_is_marked_with_its_name_and_time():
    assert any("OOM kill, 3.2 s" in text for text in drawn_text(watched(KILL)))
    assert not any("OOM" in text for text in drawn_text(watched()))
    assert "1 OOM kill, 412 forks refused" in curves.finding(watched(KILL, BOMB))
    assert curves.finding(watched()) == "The kernel has not struck"


def test_a_stretch_is_a_bar_from_its_begin_to_its_end():
    (bar,) = panel(watched(BOMB), 2).axes.patches
    assert (bar.get_x(), bar.get_width()) == (4.0, 2.0)
    assert not panel(watched(BOMB), 0).axes.patches


def test_a_changed_limit_is_a_step_and_no_limit_is_not_drawn():
    before, after = readings()[:30], changed(memory_limit_bytes=32 * MIB).samples[30:]
    limit = panel(watched(samples=(*before, *after)), 0).limit
    assert set(limit.get_ydata()) == {64 * MIB, 32 * MIB}
    assert limit.get_xdata()[-1] == 8  # to the end
    free = changed(memory_limit_bytes=None)
    assert np.isnan(panel(free, 0).limit.get_ydata()).all()
    assert "memory.max sets no limit" in curves.words(free)


def test_a_controller_that_is_missing_says_so():
    without = changed(tasks=None, task_limit=None)
    assert "processes and threads: not counted here" in drawn_text(without)
    assert "not counted here" in curves.words(without)


def test_the_labels_of_limit_and_value_never_touch():
    there = panel(changed(tasks=20), 2)
    apart = abs(there.now.get_position()[1] - there.limit_name.get_position()[1])
    assert apart > 0.2 * there.axes.get_ylim()[1]


def test_marks_that_are_too_close_share_one_name():
    close = replace(KILL, at_seconds=3.3), replace(KILL, at_seconds=7.9)
    names = [text for text in panel(watched(KILL, *close), 0).axes.texts if "OOM" in str(text)]
    assert [(text.get_position()[0], text.get_ha()) for text in names] == [
        (3.2, "left"), (7.9, "right"),
    ]  # fmt: skip


def test_repainting_gives_the_same_picture_as_painting_it_at_once():
    def paint(*pictures):
        plot = Plot()
        return np.asarray(Image.open(io.BytesIO([plot.paint(each) for each in pictures][-1])))

    early = watched(samples=readings(until=3))
    assert (paint(early, watched(KILL), watched()) == paint(watched())).all()
    assert (paint(early) != paint(watched())).any()
