"""Dangers start only inside a limit, and end: by the clock, with their group, with their owner."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from labsupport import Cgroup
from labsupport.cgroup import danger_program, dangers
from labsupport.errors import CgroupRefused, LabError
from labsupport.ownership import marks
from tests import census
from tests.waiting import owner, wait_until

pytestmark = pytest.mark.usefixtures("nothing_is_left")
MIB = 1 << 20


# --- they do what they are for ------------------------------------------------------------------


def test_a_hog_stops_growing_at_most():
    with Cgroup(memory="64M", swap=0) as group:
        hog = dangers.hog(group, "2M", most="8M", pause_seconds=0.001)
        wait_until(lambda: group.usage().memory_bytes >= 8 * MIB)
        time.sleep(0.2)
        assert group.usage().memory_bytes < 24 * MIB
        assert hog.returncode is None


def test_a_bomb_fills_its_limit_and_not_more():
    with Cgroup(pids=20, cpu=0.5) as group:
        bomb = dangers.bomb(group)
        wait_until(lambda: group.usage().pids_refused > 0)
        assert group.usage().pids == len(group.processes()) == 20
        assert bomb.returncode is None
        group.kill()
        assert group.processes() == []
        assert bomb.wait(60) == -signal.SIGKILL


# --- they start only inside a limit -------------------------------------------------------------

STARTS = {"hog": dangers.hog, "burner": dangers.burner, "bomb": dangers.bomb}


@pytest.mark.parametrize("kind", STARTS)
def test_without_a_limit_none_starts(kind):
    with Cgroup() as group:
        with pytest.raises(LabError, match=rf"{kind} was not started(?s:.*)group\.set"):
            STARTS[kind](group)
        assert group.processes() == []


def test_without_a_limit_no_writer_starts(loop):
    with Cgroup() as group, pytest.raises(LabError, match="nothing limits io"):
        dangers.writer(group, loop)


def test_a_writer_overwrites_no_file(tmp_path):
    file = tmp_path / "precious"
    file.write_text("data")
    with Cgroup() as group, pytest.raises(CgroupRefused, match="overwritten"):
        dangers.writer(group, file)


def test_a_writer_overwrites_no_disk_that_is_mounted(loop):
    mounted = os.open(loop, os.O_RDONLY | os.O_EXCL)  # the claim that mount(2) makes
    try:
        with Cgroup() as group, pytest.raises(CgroupRefused, match=r"overwritten: .*busy"):
            dangers.writer(group, loop)
    finally:
        os.close(mounted)


@pytest.mark.parametrize(
    ("kind", "limit", "taken_away"),
    [
        ("hog", {"memory": "32M"}, {"memory": None}),
        ("burner", {"cpu": 0.2}, {"cpu": None}),
        ("bomb", {"pids": 10}, {"pids": None}),
        ("bomb", {"pids": 10}, {"pids": 5000}),
    ],
)
def test_a_limit_that_vanishes_on_the_way_is_missed(monkeypatch, kind, limit, taken_away):
    """The program asks from inside, at the very end: earlier answers do not count."""
    with Cgroup(**limit) as group:
        start = dangers.Sandbox.start

        def late(box, *args, **options):
            group.set(**taken_away)
            return start(box, *args, **options)

        monkeypatch.setattr(dangers.Sandbox, "start", late)
        with pytest.raises(LabError, match=f"the {kind} was not started"):
            STARTS[kind](group)
        assert group.processes() == []


def test_a_program_outside_the_group_does_not_start():
    with Cgroup(pids=10) as group:
        check = dangers._check(group, "bomb", "pids", 10, 20)
        order = {"kind": "bomb", "options": {}, "seconds": 1, "procs": [], "checks": [check]}
        argv = [sys.executable, "-I", "-S", str(dangers.PROGRAM), json.dumps(order)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == danger_program.REFUSED
    assert "not in /" in done.stderr


@pytest.mark.parametrize(
    ("text", "disk", "limit"),
    [
        ("max\n", "", None), ("20\n", "", 20), ("9223372036854771712\n", "", None),
        ("-1\n", "", None), ("20000\n", "", 20000), ("max 100000\n", "", None),
        ("20000 100000\n", "", 20000), ("", "7:0", None), ("7:0 1048576\n", "7:0", 1048576),
        ("7:10 1048576\n", "7:1", None),
        ("7:0 rbps=max wbps=max riops=max wiops=max\n", "7:0", None),
        ("7:0 rbps=5 wbps=7 riops=max wiops=max\n", "7:0", 7),
        ("7:0 rbps=5 wbps=max riops=max wiops=9\n", "7:0", None),
    ],
)  # fmt: skip
def test_what_is_a_limit(text, disk, limit):
    assert danger_program.limit_in(text, disk) == limit


# --- they end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STARTS)
def test_each_ends_when_its_time_is_up(kind):
    start = getattr(dangers, kind)
    with Cgroup(memory="64M", swap=0, cpu=0.5, pids=10) as group:
        options = {"most": "1M"} if kind == "hog" else {}
        began = time.monotonic()
        danger = start(group, seconds=0.7, **options)
        assert danger.wait(60) == 0
        assert time.monotonic() - began < 8
        wait_until(lambda: group.processes() == [])


def test_stop_ends_a_bomb():
    with Cgroup(pids=10, cpu=0.5) as group:
        bomb = dangers.bomb(group)
        bomb.stop()
        bomb.stop()
        assert group.processes() == []


@pytest.mark.parametrize(("kind", "seconds"), [("hog", 0.15), ("bomb", 0), ("bomb", 0.5)])
def test_nothing_is_left_of_a_killed_owner(kind, seconds):
    """`kill -9` at some moment: no process survives, and no group survives the next start."""
    code = f"""
        import time
        from labsupport import Cgroup
        from labsupport.cgroup import dangers
        with Cgroup(memory="32M", swap=0, pids=12, cpu=0.5) as group:
            print("made", flush=True)
            dangers.{kind}(group).wait()
            time.sleep(60)
    """
    with owner(code) as (notebook, _):
        mark = marks.mark(notebook)
        time.sleep(seconds)
    wait_until(lambda: not census.owned_by(mark))
    marks.sweep()
    assert census.cgroups(mark.replace(":", "-")) == []
