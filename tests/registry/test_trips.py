"""Pushes and a registry's log as tables, from plain data."""

from labsupport.registry.server import Request, requests_table
from labsupport.registry.shipping import SENT, THERE, LayerTrip, Trip

BLOB = "sha256:" + "a1" * 32
MADE_BY = ("ADD rootfs.tar / # the base", "/bin/sh -c #(nop) COPY file:0123456789abcdef in /app ")


def trip(*outcomes):
    layers = [
        LayerTrip(f"sha256:{number:064}", made_by, 10 ** (6 - 3 * number), outcome)
        for number, (made_by, outcome) in enumerate(zip(MADE_BY, outcomes, strict=True))
    ]
    return Trip("127.0.0.1:5000/student/app:1", 1.5, tuple(layers))


def test_a_push_tells_of_each_layer_what_became_of_it():
    table = trip(THERE, SENT).table
    assert table.finding == "127.0.0.1:5000/student/app:1: 1 of 2 layers sent, 1 kB"
    assert table.rows[0][0] == "`COPY file:012345… in /app`"
    assert [row[2:] for row in table.rows] == [("1 kB", "sent"), ("1 MB", "already there")]


def test_a_log_says_who_asked_and_what_came_of_it():
    log = [
        Request("GET", "/v2/", 401, agent="docker/20.10"),
        Request("PUT", f"/v2/s/app/blobs/uploads/12ab?_state=x&digest={BLOB}", 201, "s",
                stored_bytes=2092, agent="docker/20.10"),
        Request("GET", f"/v2/s/app/blobs/{BLOB}", 200, "s", 2092, agent="curl"),
    ]  # fmt: skip
    table = requests_table(log)

    assert table.finding == "3 requests: of images, 2.09 kB came in and 2.09 kB went out"
    first, second, third = table.rows
    assert first == ("the engine", "`GET /v2/`", "401 who are you?", "", "0")
    assert second[1] == "`PUT /v2/s/app/blobs/uploads/12ab… (it was a1a1a1a1…)`"
    assert third[0] == "curl"
    assert "_state" not in table._repr_html_()
