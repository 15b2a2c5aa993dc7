"""Pushes, pulls, logs and belongings as pictures and tables, drawn from plain data."""

import pytest

from labsupport.engine.belongings import MINE, SOMEBODYS, THE_COURSES, Belongings, Thing
from labsupport.engine.registry_log import Request
from labsupport.engine.shipping import FETCHED, HERE, SENT, THERE, LayerTrip, Trip
from labsupport.views import style, trips
from labsupport.views.belongings_table import BelongingsTable
from labsupport.views.history_table import HistoryTable
from labsupport.views.requests_table import RequestsTable
from labsupport.views.trip_progress import TripProgress

BLOB = "sha256:" + "a1" * 32
MADE_BY = ("ADD rootfs.tar / # the base", "/bin/sh -c #(nop) COPY file:0123456789abcdef in /app ")


def trip(verb, *outcomes):
    layers = [
        LayerTrip(f"sha256:{number:064}", made_by, 10 ** (6 - 3 * number), outcome)
        for number, (made_by, outcome) in enumerate(zip(MADE_BY, outcomes, strict=True))
    ]
    return Trip(verb, "127.0.0.1:5000/student/app:1", BLOB, 1.5, tuple(layers))


SHOWN = {"first push": trip("push", SENT, SENT), "second": trip("push", THERE, SENT)}


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_finding_counts_what_went_over_the_line():
    assert trips.finding(SHOWN) == (
        "First push: 2 of 2 layers sent, 1 MB · second: 1 of 2 layers sent, 1 kB"
    )
    pulled = {"pull": trip("pull", HERE, FETCHED)}
    assert trips.finding(pulled) == "Pull: 1 of 2 layers fetched, 1 kB"


def test_the_picture_has_a_box_for_each_layer_of_each_trip():
    figure = style.new_figure(trips.WIDTH, 4)
    trips.draw_trips(figure.add_axes((0, 0, 1, 1)), SHOWN)

    assert len(figure.axes[0].patches) == 4
    said = texts(figure)
    assert said.count("→ 1 kB sent") == 2
    assert said.count("already there") == 1
    assert "COPY file:012345… in /app" in said


def test_no_text_stands_in_a_box_that_is_not_its_own():
    figure = style.new_figure(trips.WIDTH, trips.WIDTH * trips.needed_height(SHOWN) / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    trips.draw_trips(axes, SHOWN)
    figure.canvas.draw()
    first_box = min(box.get_window_extent().x0 for box in axes.patches)
    instructions = [text for text in axes.texts if text.get_family() == ["monospace"]]
    assert len(instructions) == 2
    assert all(text.get_window_extent().x1 < first_box for text in instructions)


def test_words_and_table_tell_the_same():
    assert "COPY file:012345… in /app: → 1 kB sent" in trips.words(SHOWN)
    rows = trips.table(SHOWN)
    assert len(rows) == 1 + 4
    assert rows[1][-2:] == ("1,000 bytes", "sent")
    assert rows[4][-1] == "already there"


def test_a_registry_that_tells_no_sizes_leaves_them_out():
    silent = Trip("push", "alice/app:1", "", 1.0, (LayerTrip("", "", 0, SENT),))
    assert trips.finding({"push": silent}) == "Push: 1 of 1 layers sent"
    assert "(not told): → sent" in trips.words({"push": silent})


def thing(kind, key, whose, name="x"):
    return Thing(kind, key, name, whose, bytes=1000, state="Up 1 second")


def test_what_has_gone_and_what_is_still_there():
    ours, theirs, base = (
        thing("container", "1", MINE), thing("image", "2", SOMEBODYS),
        thing("image", "3", THE_COURSES),
    )  # fmt: skip
    table = BelongingsTable(Belongings((ours, theirs, base)), Belongings((theirs, base)))

    assert table.finding() == "1 have gone, 1 of them this notebook's; 2 are still there"
    assert [row[-2:] for row in table.rows()] == [("✓", "gone"), ("✓", "✓"), ("✓", "✓")]
    assert table._repr_html_().count("opacity") == 5 + 2


def test_what_is_new_was_not_there_before():
    new = thing("image", "9", MINE, "<none>")
    table = BelongingsTable(Belongings(()), Belongings((new,)))
    assert table.rows()[0][-2:] == ("", "✓")
    assert "&lt;none&gt;" in table._repr_html_()


def test_without_an_after_it_lists():
    table = BelongingsTable(Belongings((thing("image", "1", MINE),)))
    assert table.finding() == "1 things, 1 of this notebook's"
    assert "after" not in repr(table)


def test_a_log_says_who_asked_and_what_came_of_it():
    log = [
        Request("GET", "/v2/", 401, agent="docker/20.10"),
        Request("PUT", f"/v2/s/app/blobs/uploads/12ab?_state=x&digest={BLOB}", 201, "s",
                stored_bytes=2092, agent="docker/20.10"),
        Request("GET", f"/v2/s/app/blobs/{BLOB}", 200, "s", 2092, agent="the-other-machine"),
    ]  # fmt: skip
    table = RequestsTable(log)

    assert table.finding() == "3 requests: 2.09 kB came in, 2.09 kB went out"
    first, second, third = table.rows()
    assert first == ("the engine", "GET /v2/", "401 who are you?", "", "0")
    assert second[1] == "PUT /v2/s/app/blobs/uploads/12ab… (it was a1a1a1a1…)"
    assert third[0] == "the other machine"
    assert "_state" not in table._repr_html_()


def test_a_history_leaves_our_label_out_and_names_the_largest():
    table = HistoryTable([
        {"CreatedBy": "/bin/sh -c #(nop)  LABEL org.labsupport.owner=1", "Size": 0},
        {"CreatedBy": "/bin/sh -c make", "Size": 100},
        {"CreatedBy": "ADD <rootfs> /", "Size": 900},
    ])  # fmt: skip
    assert table.lines == [("RUN make", 100), ("ADD <rootfs> /", 900)]
    assert table.finding() == "1 kB, of which 90.0 % by: ADD <rootfs> /"
    assert "&lt;rootfs&gt;" in table._repr_html_()


@pytest.mark.parametrize(("last", "done"), [("Pushed", True), ("Pushing", False)])
def test_bars_follow_the_engines_words(last, done):
    progress = TripProgress()
    progress({"status": "The push refers to repository [x]"})
    progress({"status": "Layer already exists", "progressDetail": {}, "id": "b"})
    progress({"status": last, "progressDetail": {"current": 5, "total": 10}, "id": "<a>"})

    assert progress.ended is done
    assert ("done" in progress.markup()) is done
    assert ("5 B of 10 B" in progress.markup()) is not done
    assert "<a>" not in progress.markup()
