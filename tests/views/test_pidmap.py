"""The PID map's words and picture, from data and from real processes."""

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest

from labsupport import PidMap, Sandbox, processes
from labsupport.linux.procfs import ProcessSnapshot
from labsupport.views import pidmap, style
from labsupport.views.painter import Painter, Scene


def process(pids, chain, name="sleep", command="sleep 60"):
    return ProcessSnapshot(pids[0], pids, name, command, "S", 1, {"pid": chain[-1]}, chain)


NOTEBOOK = process((10,), (1,), "python", "python -m ipykernel")
WEB = process((345, 1), (1, 2), "nginx", "/usr/sbin/nginx -g daemon off;")
DB = process((678, 1), (1, 3), "mysqld", "/usr/sbin/mysqld --user=mysql")
DEEP = process((700, 7, 1), (1, 3, 4))


def data(*groups, ended=()):
    return pidmap.PidMapData(NOTEBOOK, tuple(groups), frozenset(ended))


def drawn_text(picture):
    figure = style.new_figure()
    axes = figure.add_axes((0, 0, 1, 1))
    pidmap.draw_pids(axes, picture)
    return [text.get_text() for text in axes.texts]


def test_the_lectures_example():
    picture = data(pidmap.group("web", 2, [WEB]), pidmap.group("db", 3, [DB]))
    assert pidmap.finding(picture) == "PID 1 twice: the host calls them 345, 678"
    text = drawn_text(picture)
    assert text.count("1") == 2
    assert {"345", "678", "10", "nginx", "mysqld"} <= set(text)
    assert "nginx is PID 1 here, 345 on the host." in pidmap.words(picture)


def test_nested_namespaces_are_boxes_in_boxes():
    outer = pidmap.group("db", 3, [DB, DEEP])
    assert outer.processes == (DB,)
    assert outer.inner[0].inode == 4
    assert outer.inner[0].processes == (DEEP,)
    text = drawn_text(data(outer))
    assert {"7", "700", "678"} <= set(text)
    frames = pidmap.scene(data(outer), 60).background
    (_, around, inner) = (frame.box for frame in frames)
    assert around[0] < inner[0]
    assert inner[0] + inner[2] < around[0] + around[2]
    assert inner[1] + inner[3] < around[1] + around[3]


def test_an_empty_namespace_says_so():
    assert "empty" in pidmap.words(data(pidmap.group("web", 2, [])))
    assert any("empty" in text for text in drawn_text(data(pidmap.group("web", 2, []))))


def test_who_ended_is_marked_by_a_word_not_only_a_colour():
    picture = data(pidmap.group("web", 2, [WEB]), ended=[345])
    assert "nginx: ended" in drawn_text(picture)
    assert "just ended" in pidmap.words(picture)
    assert pidmap.finding(picture).startswith("No PID 1")


def test_the_table_has_every_process_once():
    rows = pidmap.table(data(pidmap.group("web", 2, [WEB]), pidmap.group("db", 3, [DB, DEEP])))
    assert len(rows) == 1 + 4
    assert ("sleep 60", "700, 7, 1", "4 (db)") in rows


def test_everything_fits_on_the_page():
    many = [replace(WEB, pid=n, pids=(n, n)) for n in range(1, 12)]
    picture = data(pidmap.group("web", 2, many), pidmap.group("db", 3, [DB, DEEP]))
    high = pidmap.needed_height(picture)
    scene = pidmap.scene(picture, high)
    boxes = [frame.box for frame in scene.background] + list(scene.tiles)
    assert all(left >= 0 and top >= 0 for left, top, _, _ in boxes)
    assert all(left + width <= 100 and top + height <= high for left, top, width, height in boxes)
    assert any("and 4 more" in text for text in drawn_text(picture))


def test_repainting_tiles_gives_the_same_picture_as_painting_anew():
    def paint(*scenes):
        painter = Painter(style.new_figure(9.2, 4.6), pidmap.draw_frames, pidmap.draw_tile)
        for scene in scenes:
            painter.paint(scene)
        return np.asarray(painter.canvas.buffer_rgba()).copy()

    one = pidmap.scene(data(pidmap.group("web", 2, [WEB])), 50)
    two = pidmap.scene(data(pidmap.group("web", 2, [WEB, replace(WEB, pid=9, pids=(9, 2))])), 50)
    assert (paint(one, two, one) == paint(one)).all()
    assert (paint(one, two) == paint(two)).all()
    assert (paint(one) != paint(two)).any()


def test_an_unchanged_scene_costs_nothing():
    painter = Painter(style.new_figure(9.2, 4.6), pidmap.draw_frames, pidmap.draw_tile)
    scene = pidmap.scene(data(pidmap.group("web", 2, [WEB])), 50)
    assert painter.paint(scene) is painter.paint(Scene(scene.background, dict(scene.tiles)))


@pytest.fixture
def boxes():
    with Sandbox() as web, Sandbox() as db:
        web.start(["sleep", "100"])
        db.start(["sleep", "200"])
        yield {"web": web, "db": db}


def test_the_live_map_shows_what_the_kernel_says(boxes):
    live = PidMap(boxes)
    live.set_helpers("web", 2)
    inside = processes(of=boxes["web"])
    assert len(inside) == 3
    assert {p.pid for p in live.data.groups[0].everyone()} == {p.pid for p in inside}
    live.set_helpers("web", 0)
    assert len(processes(of=boxes["web"])) == 1


def test_an_ended_process_lingers_and_then_goes(boxes):
    live = PidMap(boxes)
    live.set_helpers("web", 1)
    (helper,) = live.helpers["web"]
    live.set_helpers("web", 0)
    assert helper.pid in live.data.ended
    time.sleep(1.1)
    live.refresh()
    assert helper.pid not in {p.pid for p in live.data.groups[0].everyone()}


def test_a_still_picture_shows_only_who_is_there(boxes, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "show", lambda figure, alt, table: shown.append(alt))
    live = PidMap(boxes)
    first = boxes["web"]._init
    first.signal(9)
    first.wait()
    live.draw()
    assert "empty" in shown[0]
    assert "ended" not in shown[0]


def test_running_live_takes_its_time_and_stops_when_told(boxes):
    async def stopped_early():
        live = PidMap(boxes)
        asyncio.get_running_loop().call_later(0.3, setattr, live.picture, "stopping", True)
        began = time.monotonic()
        await live.run(seconds=20)
        return live, time.monotonic() - began

    live, seconds = asyncio.run(stopped_early())
    assert 0.3 <= seconds < 5
    assert live.picture.png.startswith(b"\x89PNG")
    assert "PID 1 twice" in live.picture.alt
    assert live.picture.running is False
