"""Single namespaces: who owns them, who is in them, what keeps them; compared with lsns(8)."""

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import replace

import pytest

from labsupport import NamespaceTable, Sandbox, namespaces
from labsupport.errors import ProcessGone
from labsupport.kernel.procfs import KINDS
from labsupport.users.namespaces import Keepers, keepers, namespace

SET_NAME = 'hostname "$0"; echo ready; exec sleep 60'
UTS_MAKER = ["unshare", "--uts", "sh", "-c", SET_NAME, "kept"]


@pytest.fixture
def box():
    with Sandbox(new={"mount"}) as box:
        yield box


@pytest.fixture
def kept(box):
    """A program in a UTS namespace of its own, and that namespace."""
    program = box.start(UTS_MAKER)
    program.expect("ready")
    return program, namespace("uts", of=program.pid)


def lsns(pid):
    argv = ["lsns", "--json", f"--task={pid}", "--output=NS,TYPE,NPROCS"]
    for _ in range(5):  # it fails if any process of the machine ends while it reads about it
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    return {each["type"]: each for each in json.loads(done.stdout)["namespaces"]}


@pytest.mark.parametrize("kind", sorted(set(KINDS) & set(namespaces())))
def test_lsns_says_the_same(kind):
    with Sandbox(new={"uts", "ipc"}) as box:
        program = box.start(["sleep", "60"])
        found, told = namespace(kind, of=box), lsns(box.pid)[KINDS[kind].file]
        inside, holder = keepers(found).processes, box.holder_pid
    assert found.inode == int(told["ns"])
    if kind in box.new:
        assert set(inside) == {holder, program.pid}
        assert len(inside) == int(told["nprocs"])


def end(program):
    program.signal(9)
    program.wait()


def test_a_neighbour_that_got_the_number_is_told_apart(box, kept, tmp_path):
    """Each of the three: its process, its descriptor, its mount."""
    program, it = kept
    if it.ns_id is None:
        pytest.skip("needs Linux 6.18: before, a namespace has only the number that is used again")
    for _ in range(20):  # another test may take the number, for a namespace of another kind
        end(program)
        program = box.start(UTS_MAKER)
        program.expect("ready")
        now = namespace("uts", of=program.pid)
        if now.inode == it.inode:
            break
        it = now
    assert now.inode == it.inode
    assert now.ns_id != it.ns_id
    link, place = f"/proc/{program.pid}/ns/uts", tmp_path / "place"
    place.touch()
    assert box.run(["mount", "--bind", link, place]).returncode == 0
    with open(link) as opened:
        mine = (os.getpid(), opened.fileno())
        assert keepers(replace(it, ns_id=None)) == Keepers((program.pid,), (mine,), (str(place),))
        assert keepers(now) == keepers(replace(it, ns_id=None))
        assert not keepers(it)


def test_a_process_of_somebody_else_is_told():
    with suppress(PermissionError):
        os.readlink("/proc/1/ns/uts")
        pytest.skip("needs a process that we may not look into: here even process 1 is open to us")
    with pytest.raises(ProcessGone, match=r"process 1 .*belongs to somebody else"):
        namespace("uts", of=1)


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
