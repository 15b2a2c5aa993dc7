"""Pushes, pulls, logs and belongings as pictures and tables, drawn from plain data."""

import pytest

from labsupport.registry import trips
from labsupport.registry.server import Request
from labsupport.registry.shipping import SENT, THERE, LayerTrip, Trip
from labsupport.registry.trips import requests_table

BLOB = "sha256:" + "a1" * 32
MADE_BY = ("ADD rootfs.tar / # the base", "/bin/sh -c #(nop) COPY file:0123456789abcdef in /app ")


def trip(*outcomes):
    layers = [
        LayerTrip(f"sha256:{number:064}", made_by, 10 ** (6 - 3 * number), outcome)
        for number, (made_by, outcome) in enumerate(zip(MADE_BY, outcomes, strict=True))
    ]
    return Trip("127.0.0.1:5000/student/app:1", 1.5, tuple(layers))


SHOWN = {"first push": trip(SENT, SENT), "second": trip(THERE, SENT)}


def test_the_finding_counts_what_went_over_the_line():
    assert trips.finding(SHOWN) == (
        "First push: 2 of 2 layers sent, 1 MB · second: 1 of 2 layers sent, 1 kB"
    )


def test_a_bar_is_as_long_as_its_layer_has_bytes():
    axes = trips.page(SHOWN).axes
    bars = [patch.get_width() for patch in axes.patches]
    assert len(bars) == 4
    assert bars[1] / bars[0] == pytest.approx(1 / 1000)
    assert bars[0] == bars[2] > 25
    said = [text.get_text() for text in axes.texts]
    assert said.count("→ 1 kB sent") == 2
    assert said.count("already there, 1 MB") == 1
    assert "COPY file:012345… in /app" in said


def test_no_text_stands_in_a_box_that_is_not_its_own():
    sheet = trips.page(SHOWN)
    sheet.figure.canvas.draw()
    first_box = min(box.get_window_extent().x0 for box in sheet.axes.patches)
    instructions = [text for text in sheet.axes.texts if text.get_family() == ["monospace"]]
    assert len(instructions) == 2
    assert all(text.get_window_extent().x1 < first_box for text in instructions)


def test_words_and_table_tell_the_same():
    assert "COPY file:012345… in /app: → 1 kB sent" in trips.words(SHOWN)
    rows = trips.table(SHOWN)
    assert len(rows) == 1 + 4
    assert rows[1][-2:] == ("1,000 bytes", "sent")
    assert rows[4][-1] == "already there"


def test_a_log_says_who_asked_and_what_came_of_it():
    log = [
        Request("GET", "/v2/", 401, agent="docker/20.10"),
        Request("PUT", f"/v2/s/app/blobs/uploads/12ab?_state=x&digest={BLOB}", 201, "s",
                stored_bytes=2092, agent="docker/20.10"),
        Request("GET", f"/v2/s/app/blobs/{BLOB}", 200, "s", 2092, agent="curl"),
    ]  # fmt: skip
    table = requests_table(log)

    assert table.finding == "3 requests: 2.09 kB came in, 2.09 kB went out"
    first, second, third = table.rows
    assert first == ("the engine", "`GET /v2/`", "401 who are you?", "", "0")
    assert second[1] == "`PUT /v2/s/app/blobs/uploads/12ab… (it was a1a1a1a1…)`"
    assert third[0] == "curl"
    assert "_state" not in table._repr_html_()
