"""Containers of one image, looked at in a real engine (5 s)."""

import os
from pathlib import Path

import pytest

from labsupport.build.workbench import Workbench
from labsupport.engine import instances as module
from labsupport.engine.client import Engine
from labsupport.engine.instances import instances, upper_of
from labsupport.kernel.procfs import status
from tests.engine.samples import ANN, BOB, CLEO, container


@pytest.fixture
def bench(an_engine):
    with Engine.connect() as engine, Workbench(engine) as bench:
        yield bench


def test_each_has_what_it_wrote_and_nothing_of_the_others(bench):
    made = [bench.start("labsupport/busybox", "sleep", "1000") for _ in range(3)]
    made[0].exec_run(["sh", "-c", "echo four > /new; mkdir /folder"])
    made[1].exec_run(["sh", "-c", "rm /bin/ls; echo more >> /etc/passwd"])
    first, second, third = instances(made)

    assert first.written == {"/new": 5}
    assert set(first.changes) == {("added", "/new"), ("added", "/folder")}
    assert ("deleted", "/bin/ls") in second.changes
    assert ("changed", "/etc/passwd") in second.changes
    assert list(second.written) == ["/etc/passwd"]  # a whiteout is not a file
    assert (third.written, third.changes) == ({}, ())
    assert len({first.image_id, second.image_id, third.image_id}) == 1
    assert len({first.upper, second.upper, third.upper}) == 3
    assert (Path(first.upper) / "new").read_text() == "four\n"


def test_numbers_and_names_are_those_of_the_engine_and_of_the_kernel(bench):
    container = bench.start("labsupport/busybox", "sleep", "1000")
    (found,) = instances([container])
    assert found.pid == container.attrs["State"]["Pid"]
    assert found.pids == status(found.pid).pids
    assert found.pids[-1] == 1
    assert f"/{found.name}" == container.attrs["Name"]


def test_a_number_that_is_somebody_elses_is_not_looked_at(bench):
    container = bench.start("labsupport/busybox", "sleep", "1000")
    assert upper_of(os.getpid(), container.id) is None
    assert upper_of(2**22 + 1, container.id) is None


def test_without_a_look_into_the_kernel_the_engine_still_tells(bench, monkeypatch):
    monkeypatch.setattr("labsupport.engine.instances._is_here", lambda pid, identity: False)
    container = bench.start("labsupport/busybox", "sleep", "1000")
    container.exec_run(["touch", "/new"])
    (found,) = instances([container])
    assert (found.upper, found.written, found.pids) == (None, None, ())
    assert found.changes == (("added", "/new"),)


def test_the_finding_counts_what_differs():
    found = module.finding([ANN, BOB, CLEO])
    assert found == "One image, 3 containers: 3 processes, 3 different writable layers"
    assert module.finding([CLEO, container("dora", 14, {})]).endswith("nothing different yet")


def test_each_container_shows_its_number_and_what_it_wrote():
    texts = [text.get_text() for text in module.page([ANN, BOB], "two", 2).axes.texts]
    for word in ("ann", "PID 12", "inside: PID 1", "/note  5 B", "/bin/ls deleted"):
        assert word in texts
    assert "aaaaaaaaaaaa: 2 layers, read-only, shared by all" in texts


def test_long_lists_and_paths_are_cut():
    lines = module._lines(CLEO)
    assert lines[-1] == "and 5 more"
    assert max(map(len, lines)) < 32


def test_where_nothing_could_be_read_the_engines_word_stands():
    unseen = container("ann", 11, None, ("added", "/note"), pids=())
    assert module._lines(unseen) == ["/note added"]
    assert module.table([unseen])[1][4] == "?"


def test_words_and_table_say_all_of_it():
    said = module.words([ANN, BOB, CLEO], "three", 1)
    assert "ann (PID 11, 1 inside) wrote /note  5 B." in said
    assert said.endswith("the image three, read-only: 1 layer.")
    table = module.table([ANN, BOB])
    assert table[2][-1] == "deleted /bin/ls, changed /bin"
