"""The table of namespaces, and the table of answers: what they say."""

from labsupport import NamespaceTable, namespaces
from labsupport.kernel.procfs import KINDS

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
