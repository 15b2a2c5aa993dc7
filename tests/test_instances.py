"""Containers of one image, looked at in a real engine (5 s)."""

import os
from pathlib import Path

import pytest

from labsupport.engine.client import Engine
from labsupport.engine.workbench import Workbench
from labsupport.instances import instances, upper_of
from labsupport.linux.procfs import status


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
    assert list(second.written) == ["/etc/passwd"]  # a whiteout is no file
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
    monkeypatch.setattr("labsupport.instances._is_here", lambda pid, identity: False)
    container = bench.start("labsupport/busybox", "sleep", "1000")
    container.exec_run(["touch", "/new"])
    (found,) = instances([container])
    assert (found.upper, found.written, found.pids) == (None, None, ())
    assert found.changes == (("added", "/new"),)
