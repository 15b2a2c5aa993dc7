"""The table of namespaces, the owners on both sides, the answers: what they say."""

from labsupport import NamespaceTable, Sandbox, namespaces
from labsupport.kernel.procfs import KINDS
from labsupport.users import namespace_table as view
from labsupport.users import owners
from labsupport.users.attempts import attempts
from labsupport.users.namespace_table import Cell
from labsupport.users.owners import FileOwners, Owned, ordinary_uid
from tests.users.samples import BOX, FOUR, HOST, MADE, MAP, OLD, SAME_UTS, THEIRS


def texts(page):
    return [text.get_text() for text in page.axes.texts]


def test_a_number_is_told_with_the_column_that_had_it_first():
    assert view.cells([HOST, BOX, SAME_UTS], "uts") == [Cell(14, 0), Cell(50, 1), Cell(50, 1)]
    assert view.own([HOST, BOX, SAME_UTS], 1) == ["uts", "ipc"]
    assert view.own([HOST, BOX, SAME_UTS], 2) == ["net"]


def test_finding_words_and_table_tell_what_is_shared():
    assert view.finding([HOST, BOX, SAME_UTS]) == (
        "Own namespaces, of 8 kinds here: sandbox 2, other 1"
    )
    assert view.finding([HOST]) == "this notebook: one namespace of each of 8 kinds"
    said = view.words([HOST, BOX])
    assert "sandbox has its own uts, ipc and shares user, mount, pid, net, cgroup, time." in said
    rows = view.table([HOST, BOX])
    assert rows[0] == ("kind", "isolates", "this notebook", "sandbox")
    assert [row[0] for row in rows[1:]] == list(KINDS)
    assert rows[5][2:] == (14, 50)


def test_each_number_is_drawn_where_it_belongs():
    found = texts(view.page([HOST, BOX]))
    for kind in KINDS:
        assert kind in found
        assert found.count(str(HOST.inodes[kind])) == (1 if kind in ("uts", "ipc") else 2)
    assert found.count("50") == found.count("51") == 1


def test_a_kind_that_this_kernel_lacks_says_so():
    assert texts(view.page(OLD)).count("not in this kernel") == 2
    assert "of 7 kinds" in view.finding(OLD)
    assert ("time", KINDS["time"].isolates, "not here", "not here") in view.table(OLD)


def test_the_table_reads_the_kernel():
    with Sandbox(new={"uts", "ipc"}) as box:
        table = NamespaceTable({"sandbox": box, "same": box.pid, "told": namespaces(), "no": None})
        assert table.own("sandbox") == box.new
        assert table.own("same") == table.own("told") == set()
        assert [column.label for column in table.columns][1:] == ["sandbox", "same", "told"]


def test_a_bar_ties_all_that_share_one_neighbours_or_not():
    assert view.tied(view.cells(FOUR, "user")) == [0, 1]  # notebook and Docker; sandbox, rootless
    assert view.tied(view.cells(FOUR, "uts")) == [1]
    assert view.tied(view.cells([HOST, BOX], "uts")) == []


def test_owners_are_told_on_both_sides():
    both = "One file, two owners: 60000:60000 outside is 0:0 inside"
    assert owners.finding([THEIRS, MADE]) == both
    assert owners.finding([THEIRS]) == "No file whose user and group the maps both know"
    words = owners.words([THEIRS, MADE])
    assert (
        "made-inside belongs to 60000:60000 outside, to 0:0 inside; mapped: user and gro" in words
    )
    assert "to 0:65534 inside; mapped: user." in words
    assert owners.table([THEIRS])[1] == ("only the user mapped", "60000:0", "0:65534", "user")
    found = texts(owners.page([THEIRS, MADE], MAP))
    assert {"0 60000 1", "60000:60000", "0:0", "0:65534"} <= set(found)


def test_owners_are_asked_on_both_sides(tmp_path):
    made = tmp_path / "made"
    made.touch()
    with Sandbox(new={"user"}, uid=ordinary_uid()) as box:
        if box.run(["stat", str(made)]).returncode:
            made = "/etc/hostname"  # as root: a folder of ours that the other user cannot enter
        asked = FileOwners(box, ["/etc/passwd", made])
    assert asked.files[0] == Owned("passwd", "0:0", "65534:65534", user=False, group=False)
    assert asked.files[0].known == "neither"
    assert asked.users.outside(0) == ordinary_uid()


def test_answers_are_told_apart_by_a_word(tmp_path):
    tries = {
        "succeed": ["true"],
        "fail": ["sh", "-c", "echo No way. >&2; exit 1"],
        "enter": ["pwd"],
    }
    with Sandbox(new={"uts"}) as box, Sandbox(new={"ipc"}) as other:
        answers = attempts({"one": box, "two": other}, tries, cwd=tmp_path)
    assert answers.allowed("one") == answers.allowed("two") == ["succeed", "enter"]
    assert str(answers).startswith("succeed\n  one: ✓ yes\n  two: ✓ yes\nfail\n  one: ✗ No way.")
    assert answers.rows["enter"][0].stdout == f"{tmp_path}\n"
    assert "No way." in answers._repr_html_()
