"""The curves' words and picture, from plain data."""

from dataclasses import replace

import pytest

from labsupport.cgroup import curves
from labsupport.cgroup.curves import HIGH, LEFT, MIB, STEP, TOP, WIDE
from labsupport.figure import style
from labsupport.figure.page import Page
from tests.cgroup.samples import BOMB, KILL, changed, readings, watched
from tests.figure import sheet


def panel(data, number):
    """Return the panel of one kind, and a page on which it alone is: memory, CPUs, tasks, disk."""
    page = Page(60, inches=curves.INCHES)
    made = curves.Panel(page, data, curves.KINDS[number], TOP + number * STEP)
    made.draw()
    return made, page


def way(page, **look):
    """Return the one line of that look, as (x, y) in the page's units."""
    [found] = [points for points, has in sheet.ways(page) if look.items() <= has.items()]
    return found


def second(x):
    return 8 * (x - LEFT) / WIDE


DASHED = {"stroke": style.INK, "stroke-dasharray": "6.7 4.4"}


def test_a_limit_is_named_by_its_file_and_its_value():
    told = sheet.texts(curves.page(watched()))
    wanted = {"limit 64 MiB", "limit 0.2 CPUs", "limit 20 tasks", "limit 2 MiB/s", "now 60 MiB"}
    assert wanted <= set(told)
    assert "memory in use, limited by memory.max" in told


@pytest.mark.parametrize(("seconds", "step"), [(8, 1), (16, 2), (20, 2), (700, 100), (9000, 1000)])
def test_seconds_are_written_below(seconds, step):
    told = sheet.texts(curves.page(replace(watched(), seconds=seconds)))
    wanted = [f"{at} s" for at in range(0, seconds + 1, step)]
    assert [word for word in told if word.endswith(" s")] == wanted


def test_usage_is_a_line_through_all_readings():
    made, page = panel(watched(), 0)
    at = way(page, stroke=style.FIRST)
    assert [second(x) for x, _ in at] == pytest.approx([0.1 * n for n in range(76)], abs=0.02)
    assert made.axes.most == 100 * MIB
    assert made.axes.top + HIGH - at[-1][1] == pytest.approx(0.6 * HIGH, abs=0.02)


def test_a_kill_is_marked_with_its_name_and_time():
    assert any("OOM kill, 3.2 s" in text for text in sheet.texts(curves.page(watched(KILL))))
    assert not any("OOM" in text for text in sheet.texts(curves.page(watched())))
    assert "1 OOM kill, 412 forks refused" in curves.finding(watched(KILL, BOMB))
    assert curves.finding(watched()) == "The kernel has not struck"


def bars(page):
    unit = page.pixels / page.width
    rects = [look for tag, look in sheet.shapes(page) if tag == "rect" and "x" in look]
    return [(float(look["x"]) / unit, float(look["width"]) / unit) for look in rects]


def test_a_stretch_is_a_bar_from_its_begin_to_its_end():
    [(left, wide)] = bars(panel(watched(BOMB), 2)[1])
    assert (second(left), 8 * wide / WIDE) == pytest.approx((4.0, 2.0), abs=0.02)
    assert not bars(panel(watched(BOMB), 0)[1])


def test_a_changed_limit_is_a_step_and_no_limit_is_not_drawn():
    before, after = readings()[:30], changed(memory_limit_bytes=32 * MIB).samples[30:]
    made, page = panel(watched(samples=(*before, *after)), 0)
    corners, size = way(page, **DASHED), made.axes.most / HIGH / MIB
    seconds = [second(x) for x, _ in corners]
    assert seconds == pytest.approx([0, 3, 3, 8], abs=0.02)  # to the end
    in_mib = [size * (made.axes.top + HIGH - y) for _, y in corners]
    assert in_mib == pytest.approx([64, 64, 32, 32], abs=0.5)
    free = changed(memory_limit_bytes=None)
    assert not [look for _, look in sheet.ways(panel(free, 0)[1]) if "stroke-dasharray" in look]
    assert "memory.max sets no limit" in curves.words(free)


def test_a_limit_that_was_lifted_ends_there():
    samples = (*readings()[:30], *changed(memory_limit_bytes=None).samples[30:])
    _, page = panel(watched(samples=samples), 0)
    assert second(way(page, **DASHED)[-1][0]) == pytest.approx(2.9, abs=0.02)


def test_a_controller_that_is_missing_says_so():
    without = changed(tasks=None, task_limit=None)
    assert "processes and threads: not counted here" in sheet.texts(curves.page(without))
    assert "not counted here" in curves.words(without)
