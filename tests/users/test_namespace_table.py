"""The table of namespaces, and the table of answers: what they say."""

from labsupport import NamespaceTable, Sandbox, namespaces
from labsupport.kernel.procfs import KINDS
from labsupport.users.namespaces import attempts

HERE = namespaces()
BOX = {**HERE, "uts": 50, "ipc": 51}


def test_a_number_stands_where_it_is_first_and_elsewhere_its_first_owner():
    table = NamespaceTable({"sandbox": BOX, "same": {**HERE, "uts": 50, "net": 60}})
    assert table.own("sandbox") == {"uts", "ipc"}
    assert table.own("same") == {"net"}
    rows = {row[0]: row[2:] for row in table.table.rows}
    assert list(rows) == list(KINDS)
    assert rows["uts"] == (f"`{HERE['uts']}`", "`50`", "that of sandbox")
    assert rows["ipc"] == (f"`{HERE['ipc']}`", "`51`", "that of this notebook")
    assert table.table.finding.endswith("kinds here: sandbox 2, same 1")


def test_a_kind_that_a_kernel_lacks_says_so():
    table = NamespaceTable({"old": {kind: HERE[kind] for kind in HERE if kind != "time"}})
    assert {row[0]: row[3] for row in table.table.rows}["time"] == "not in this kernel"


def test_the_table_reads_the_kernel():
    with Sandbox(new={"uts", "ipc"}) as box:
        table = NamespaceTable({"sandbox": box, "same": box.pid, "told": namespaces(), "no": None})
        assert table.own("sandbox") == box.new
        assert table.own("same") == table.own("told") == set()
        assert list(table.columns)[1:] == ["sandbox", "same", "told"]


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
