"""The table of namespaces, the owners on both sides, the answers: words and pictures from data."""

import pytest

from labsupport import (
    FileOwners,
    Keeping,
    NamespaceTable,
    Sandbox,
    attempts,
    namespaces,
    ordinary_uid,
)
from labsupport.linux.ids import IdMap
from labsupport.linux.kinds import KINDS
from labsupport.linux.namespaces import Keepers
from labsupport.views import keeping, owners, style
from labsupport.views import namespaces as view
from labsupport.views.keeping import Step
from labsupport.views.namespaces import Cell, Column
from labsupport.views.owners import Owned

HOST = Column("this notebook", {kind: 10 + number for number, kind in enumerate(KINDS)})
BOX = Column("sandbox", {**HOST.inodes, "uts": 50, "ipc": 51})
SAME_UTS = Column("other", {**HOST.inodes, "uts": 50, "net": 60})
MAP = IdMap.parse("0 60000 1")
MADE = Owned("made-inside", 60000, "no name", 0, "root")
HOSTS = Owned("/etc/hostname", 0, "root", 65534, "nobody")


def drawn(draw, height, *data):
    figure = style.new_figure(9, 9 * height / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    draw(axes, *data)
    figure.canvas.draw()
    return figure, axes


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_number_is_told_with_the_column_that_had_it_first():
    assert view.cells([HOST, BOX, SAME_UTS], "uts") == [Cell(14, 0), Cell(50, 1), Cell(50, 1)]
    assert view.cells([HOST, BOX], "user") == [Cell(10, 0), Cell(10, 0)]


def test_own_is_what_no_column_before_has():
    columns = [HOST, BOX, SAME_UTS]
    assert view.own(columns, 1) == ["uts", "ipc"]
    assert view.own(columns, 2) == ["net"]


def test_the_finding_counts():
    assert view.finding([HOST, BOX, SAME_UTS]) == (
        "Own namespaces, of 8 kinds here: sandbox 2, other 1"
    )
    assert view.finding([HOST]) == "this notebook: one namespace of each of 8 kinds"


def test_the_words_say_what_is_shared():
    words = view.words([HOST, BOX])
    assert "sandbox has its own uts, ipc and shares user, mount, pid, net, cgroup, time." in words


def test_each_number_is_drawn_where_it_belongs():
    _, axes = drawn(view.draw_namespaces, view.needed_height(), [HOST, BOX])
    found = texts(axes)
    for kind in KINDS:
        assert kind in found
        expected = 1 if kind in ("uts", "ipc") else 2
        assert found.count(str(HOST.inodes[kind])) == expected
    assert found.count("50") == found.count("51") == 1


def test_a_kind_that_this_kernel_lacks_says_so():
    old = [Column(c.label, {k: n for k, n in c.inodes.items() if k != "time"}) for c in (HOST, BOX)]
    _, axes = drawn(view.draw_namespaces, view.needed_height(), old)
    assert texts(axes).count("not in this kernel") == 2
    assert "of 7 kinds" in view.finding(old)
    assert ("time", KINDS["time"].isolates, "not here", "not here") in view.table(old)


def test_the_table_has_every_kind_once():
    rows = view.table([HOST, BOX])
    assert rows[0] == ("kind", "isolates", "this notebook", "sandbox")
    assert [row[0] for row in rows[1:]] == list(KINDS)
    assert rows[5][2:] == (14, 50)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_no_word_leaves_the_page(count):
    numbers = {kind: 4026531830 + at for at, kind in enumerate(KINDS)}
    names = ["this notebook", "sandbox", "Docker", "rootless"][:count]
    columns = [Column(name, numbers) for name in names]
    figure, axes = drawn(view.draw_namespaces, view.needed_height(), columns)
    page = figure.bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0, text.get_text()
        assert box.x1 <= page.x1, text.get_text()
    assert all(text.get_size() >= 11 for text in axes.texts)


def test_the_table_reads_the_kernel():
    with Sandbox(new={"uts", "ipc"}) as box:
        table = NamespaceTable({"sandbox": box, "same": box.pid, "told": namespaces(), "no": None})
        assert table.own("sandbox") == box.new
        assert table.own("same") == table.own("told") == set()
        assert [column.label for column in table.columns][1:] == ["sandbox", "same", "told"]


def test_owners_are_told_on_both_sides():
    assert owners.finding([HOSTS, MADE], MAP) == (
        "One file, two owners: 60000 outside is 0 (root) inside"
    )
    words = owners.words([HOSTS, MADE], MAP)
    assert "made-inside belongs to 60000 (no name) outside, to 0 (root) inside, by the map" in words
    assert "to 65534 (nobody) inside, unknown to the map" in words
    assert owners.table([HOSTS], MAP)[1] == ("/etc/hostname", "0 (root)", "65534 (nobody)", "no")
    assert owners.finding([HOSTS], MAP) == "These files have no owner whom the map knows"


def test_the_owners_and_the_map_are_drawn():
    _, axes = drawn(owners.draw_owners, owners.needed_height(2), [HOSTS, MADE], MAP)
    assert {"0 60000 1", "60000 · no name", "0 · root", "65534 · nobody"} <= set(texts(axes))


def test_owners_are_asked_on_both_sides(tmp_path):
    made = tmp_path / "made"
    made.touch()
    with Sandbox(new={"user"}, uid=ordinary_uid()) as box:
        if box.run(["stat", str(made)]).returncode:
            made = "/etc/hostname"  # as root: a folder of ours that the other user cannot enter
        asked = FileOwners(box, ["/etc/passwd", made])
    assert asked.files[0].outside == 0
    assert asked.files[0].inside == 65534
    assert asked.ids.outside(0) == ordinary_uid()


def test_answers_are_told_apart_by_a_word():
    tries = {"succeed": ["true"], "fail": ["sh", "-c", "echo No way. >&2; exit 1"]}
    with Sandbox(new={"uts"}) as box:
        answers = attempts(box, tries)
    assert (answers.allowed, answers.refused) == (["succeed"], ["fail"])
    assert str(answers) == "✓ yes  succeed\n✗ no   fail  (No way.)"
    assert "No way." in answers._repr_html_()


KEPT = [
    Step("it runs", Keepers((345,))),
    Step("opened, mounted", Keepers((345,), ((678, 3),), ("/x/place",))),
    Step("it ended", Keepers((), ((678, 3),), ("/x/place",))),
    Step("closed", Keepers((), (), ("/x/place",))),
    Step("unmounted", Keepers()),
]


def test_what_kept_it_is_counted_until_it_is_gone():
    assert (
        keeping.finding(KEPT) == "Twice it was kept without a process. Then nothing did: it is gone"
    )
    assert keeping.finding(KEPT[:2]) == "A process keeps the namespace."
    assert "After “closed” it is kept by bind mount at /x/place." in keeping.words(KEPT)
    assert keeping.table(KEPT)[2] == ("opened, mounted", "PID 345", "3 of PID 678", "place")


def test_each_keeper_is_drawn_at_each_step():
    _, axes = drawn(keeping.draw_keeping, 40, KEPT)
    found = texts(axes)
    assert [found.count(word) for word in ("PID 345", "3 of PID 678", "place", "gone")] == [
        2,
        2,
        3,
        1,
    ]


def test_watching_a_namespace_asks_the_kernel():
    # of a kind that is rare: before Linux 6.18 a number that is free again is all that tells it
    with Sandbox(new={"cgroup"}) as box:
        watch = Keeping("cgroup", namespaces(box.pid)["cgroup"])
        assert watch.look("open").processes == (box.pid,)
    assert not watch.look("closed")
    assert [step.label for step in watch.steps] == ["open", "closed"]
