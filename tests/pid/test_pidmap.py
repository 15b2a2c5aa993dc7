"""The PID map's words and picture, from data and from real processes."""

import asyncio
import time
from dataclasses import replace

import pytest

from labsupport import PidMap, Sandbox, processes
from labsupport.pid import pidmap
from tests.figure import sheet
from tests.pid.samples import BY_DB, DB, DEEP, WEB, data


def drawn_text(picture):
    return sheet.texts(pidmap.page(picture))


def boxes_of(page):
    """Return each box as left, top, width and height, with its look."""
    found = [look for name, look in sheet.shapes(page) if name == "rect" and "x" in look]
    return [(tuple(float(box[at]) for at in ("x", "y", "width", "height")), box) for box in found]


def test_the_lectures_example():
    picture = data(pidmap.group("web", 2, [WEB]), pidmap.group("db", 3, [DB]))
    assert pidmap.finding(picture) == "PID 1 twice: the host calls them 345, 678"
    text = drawn_text(picture)
    assert text.count("1") == 2
    assert {"345", "678", "10", "nginx", "mysqld", "the host", "web"} <= set(text)
    assert "nginx is PID 1 here, 345 on the host." in pidmap.words(picture)


def test_nested_namespaces_are_boxes_in_boxes():
    outer = pidmap.group("db", 3, [DB, DEEP])
    assert outer.processes == (DB,)
    assert outer.inner[0].inode == 4
    assert outer.inner[0].processes == (DEEP,)
    text = drawn_text(data(outer))
    assert {"7", "700", "678"} <= set(text)
    found = boxes_of(pidmap.page(data(outer)))
    _, around, inner = (box for box, look in found if look["rx"] == found[0][1]["rx"])
    assert around[0] < inner[0]
    assert inner[0] + inner[2] < around[0] + around[2]
    assert inner[1] + inner[3] < around[1] + around[3]


def test_who_looks_sees_its_own_and_what_is_nested_and_no_number_from_outside():
    assert BY_DB.seen() == [1, 7]
    assert pidmap.finding(BY_DB) == "The db sees PID 1, 7; 2 others it cannot see"
    text = drawn_text(BY_DB)
    assert "web: not seen" in text
    assert not {"10", "345", "678", "700", "host"} & set(text)
    assert {"1", "7", "nginx", "mysqld", "parent"} <= set(text)
    assert "nginx is PID 1 here, 345 on the host, not seen by the db." in pidmap.words(BY_DB)
    assert replace(BY_DB, viewer=pidmap.HOST).seen() == [10, 345, 678, 700]


def test_who_ended_is_marked_by_a_word_not_only_a_colour():
    picture = data(pidmap.group("web", 2, [WEB]), ended=[345])
    assert "nginx: ended" in drawn_text(picture)
    assert "just ended" in pidmap.words(picture)
    assert pidmap.finding(picture).startswith("No PID 1")


@pytest.fixture
def boxes():
    with Sandbox() as web, Sandbox() as db:
        web.start(["sleep", "100"])
        db.start(["sleep", "200"])
        yield {"web": web, "db": db}


def drawn_pids(live):
    return {process.pid for process in live.data.groups[0].everyone()}


def test_the_live_map_shows_what_the_kernel_says_and_for_a_while_who_has_ended(boxes):
    live = PidMap(boxes)
    live.set_helpers("web", 2)
    inside = {process.pid for process in processes(of=boxes["web"])}
    helpers = {helper.pid for helper in live.helpers["web"]}
    assert drawn_pids(live) == inside
    assert len(inside - helpers) == 1
    live.set_helpers("web", 0)
    assert {process.pid for process in processes(of=boxes["web"])} == inside - helpers
    assert helpers <= live.data.ended
    time.sleep(1.1)
    live.refresh()
    assert drawn_pids(live) == inside - helpers


@pytest.mark.anyio
async def test_running_live_takes_its_time_and_stops_when_told(boxes):
    live = PidMap(boxes)
    asyncio.get_running_loop().call_later(0.3, setattr, live.picture, "stopping", True)
    began = time.monotonic()
    await live.run(seconds=20)
    assert 0.3 <= time.monotonic() - began < 5
    assert live.picture.image.startswith(b"<svg")
    assert "PID 1 twice" in live.picture.alt
    assert live.picture.running is False
