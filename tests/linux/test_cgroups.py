"""Control groups: what the kernel says of them, in v1 and v2 alike (tests/vm runs this, too)."""

import contextlib
import os
import select
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from labsupport import Cgroup, Sandbox, ownership
from labsupport.errors import (
    BadAmount,
    CgroupClosed,
    CgroupRefused,
    InternalProcesses,
    LimitBelowUsage,
    MissingController,
    ProcessGone,
)
from labsupport.linux.cgroup import amounts, places
from labsupport.linux.cgroup.hierarchies import version
from labsupport.linux.cgroups import Limits, Rates
from tests import census
from tests.linux.groups import MARK, MIB, loop, nothing_is_left, wait_until

__all__ = ["loop", "nothing_is_left"]
pytestmark = pytest.mark.usefixtures("nothing_is_left")
V2 = version() == 2


@contextlib.contextmanager
def sleeper(seconds=60):
    process = subprocess.Popen(["sleep", str(seconds)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_in(group, code, timeout=60):
    """Run Python in the group from its first instruction on; return its exit status."""
    with Sandbox(new={"pid"}, cgroup=group) as box:
        return box.run([sys.executable, "-I", "-S", "-c", code], timeout=timeout)


# --- limits -------------------------------------------------------------------------------------


def test_limits_are_in_the_kernels_files():
    with Cgroup(memory="64M", swap=0, pids=20, cpu=0.2, cpu_weight=300) as group:
        assert group.limits == Limits(64 * MIB, 0, 20, 0.2, 300)
        files = group.files()
        for path, text in files.values():
            assert path.read_text().strip() == text
    names = {what: (path.name, text) for what, (path, text) in files.items()}
    expected = {
        True: {
            "memory": ("memory.max", "67108864"),
            "pids": ("pids.max", "20"),
            "cpu": ("cpu.max", "20000 100000"),
            "cpu_weight": ("cpu.weight", "300"),
        },
        False: {
            "memory": ("memory.limit_in_bytes", "67108864"),
            "pids": ("pids.max", "20"),
            "cpu": ("cpu.cfs_quota_us", "20000"),
            "cpu_weight": ("cpu.shares", "3072"),
        },
    }[V2]
    assert names.items() >= expected.items()


def test_nothing_is_limited_unasked():
    with Cgroup() as group:
        limits = group.limits
        assert (limits.memory_bytes, limits.pids, limits.cpu, limits.cpu_weight) == (
            None, None, None, 100,
        )  # fmt: skip


def test_limits_change_while_a_program_runs_and_are_read_back():
    with Cgroup(memory="64M", swap=0, pids=20) as group, sleeper() as program:
        group.add(program.pid)
        assert group.set(memory="32M").memory_bytes == 32 * MIB
        assert group.set(memory="128M", cpu=1.5) == Limits(128 * MIB, 0, 20, 1.5, 100)
        assert group.set(memory=10 * MIB + 1).memory_bytes == 10 * MIB  # whole pages
        lifted = group.set(memory=None, swap=None, pids=None, cpu=None, cpu_weight=None)
        assert lifted.memory_bytes is lifted.pids is lifted.cpu is None


@pytest.mark.parametrize("amount", ["64M", "64m", "64MiB", "64 MB", "65536K", 67108864.0, 64 * MIB])
def test_bytes_are_understood(amount):
    assert amounts.bytes_of(amount, "memory") == 64 * MIB


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("memory", "lots"), ("memory", -1), ("memory", 0.5), ("memory", True), ("memory", "64X"),
        ("swap", float("nan")), ("pids", -1), ("pids", 2.5), ("pids", "many"), ("cpu", 0),
        ("cpu", 0.001), ("cpu", "50%"), ("cpu_weight", 0), ("cpu_weight", 10_001),
        ("io", {"/dev/null": "1M"}), ("io", {"/nonesuch": "1M"}), ("io", {"7:0": {"speed": 1}}),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_anything_is_made(word, value):
    with pytest.raises(BadAmount, match=word):
        Cgroup(**{word: value})


def test_refusals_tell_the_accepted_forms():
    with pytest.raises(BadAmount, match=r'What to do: .*"64M"'):
        Cgroup(memory="lots")


def test_shares_of_v1_and_weights_of_v2_are_the_kernels():
    assert [amounts.shares_of(weight) for weight in (1, 100, 300, 10_000)] == [
        10,
        1024,
        3072,
        102_400,
    ]
    assert [amounts.weight_of(amounts.shares_of(w)) for w in (1, 100, 300, 10_000)] == [
        1,
        100,
        300,
        10_000,
    ]


# --- processes ----------------------------------------------------------------------------------


def test_a_process_moves_in_and_its_children_are_born_inside():
    with Cgroup() as group, Sandbox(new={"pid"}, cgroup=group) as box:
        shell = box.start(["sh", "-c", "sleep 60 & wait"])
        wait_until(lambda: len(group.processes()) == 2)
        assert shell.pid in group.processes()
        with sleeper() as other:
            group.add(other.pid)
            assert other.pid in group.processes()
            for folder in group.folders.values():
                assert str(other.pid) in (folder / "cgroup.procs").read_text().split()


def test_the_group_and_all_inside_end_with_the_block():
    with sleeper() as program:
        with Cgroup() as group:
            group.add(program.pid)
            folders = group.folders.values()
        assert program.wait(5) == -signal.SIGKILL
        assert not any(folder.exists() for folder in folders)
    group.close()
    for ask in (group.usage, group.processes, group.events, group.files, group.freeze):
        with pytest.raises(CgroupClosed):
            ask()


def test_our_own_process_comes_home():
    with Cgroup() as group:
        group.add(os.getpid())
        with pytest.raises(CgroupRefused, match="own process"):
            group.kill()
    assert MARK not in Path("/proc/self/cgroup").read_text()


def test_a_process_that_has_ended_is_named():
    with sleeper() as program:
        pass
    with Cgroup() as group, pytest.raises(ProcessGone):
        group.add(program.pid)


def test_procs_paths_are_one_for_each_tree():
    with Cgroup() as group:
        assert {Path(path).parent for path in group.procs_paths} == set(group.folders.values())
        assert len(group.procs_paths) == (1 if V2 else len(set(group.folders.values())))


# --- memory -------------------------------------------------------------------------------------


def test_who_takes_more_memory_than_the_limit_is_killed():
    with Cgroup(memory="32M", swap=0) as group:
        done = run_in(group, "b = bytearray(b'1') * (64 << 20); print('survived')")
        usage = group.usage()
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert usage.oom_kills == 1
    assert usage.memory_peak_bytes in (None, 32 * MIB)


def test_who_stays_below_the_limit_is_not():
    with Cgroup(memory="64M", swap=0) as group:
        done = run_in(group, "b = bytearray(b'1') * (16 << 20); print('survived')")
        assert (done.stdout, group.usage().oom_kills) == ("survived\n", 0)


def test_usage_is_the_kernels():
    with Cgroup(memory="64M", swap=0) as group, Sandbox(new={"pid"}, cgroup=group) as box:
        hold(box, 16)
        assert 16 * MIB < group.usage().memory_bytes < 64 * MIB
        path, _ = group.usage_files()["memory_bytes"]
        assert abs(group.usage().memory_bytes - int(path.read_text())) < MIB


def hold(box, mebibytes):
    """Start what keeps so much memory."""
    take = f"b = bytearray(b'1') * ({mebibytes} << 20)"
    code = f"import time; {take}; print(1, flush=True); time.sleep(60)"
    box.start([sys.executable, "-I", "-S", "-c", code]).expect("1")


@pytest.mark.skipif(V2, reason="v2 takes a limit below the usage, and kills")
def test_v1_refuses_a_limit_below_what_is_used():
    with Cgroup(memory="64M", swap=0) as group, Sandbox(new={"pid"}, cgroup=group) as box:
        hold(box, 32)
        with pytest.raises(LimitBelowUsage, match="the group uses"):
            group.set(memory="8M")
        assert group.limits.memory_bytes == 64 * MIB


@pytest.mark.skipif(V2, reason="v2 can limit swap alone")
def test_v1_limits_swap_only_together_with_memory():
    with pytest.raises(BadAmount, match="together"), Cgroup(swap=0):
        pytest.fail("it must not be made")


# --- CPU ----------------------------------------------------------------------------------------

BURN = "import time\nwhile time.process_time() < {}: pass"  # seconds of CPU time


def test_cpu_time_is_limited_and_throttling_counted():
    with Cgroup(cpu=0.1) as group:
        began = time.monotonic()
        run_in(group, BURN.format(0.15))
        seconds = time.monotonic() - began
        usage = group.usage()
    assert 0.1 < usage.cpu_seconds < 0.2 * seconds
    assert usage.periods >= usage.throttled_periods >= 5
    assert usage.throttled_seconds > 0.3


def test_an_unlimited_group_is_not_throttled():
    with Cgroup() as group:
        run_in(group, BURN.format(0.15))
        assert (group.usage().throttled_periods, group.usage().throttled_seconds) == (0, 0)
        assert 0.1 < group.usage().cpu_seconds < 2


def test_weights_divide_a_cpu_that_both_want():
    cpu = max(os.sched_getaffinity(0))
    pin = f"import os; os.sched_setaffinity(0, {{{cpu}}}); print(1, flush=True)"
    with (
        Cgroup(cpu_weight=100) as one,
        Cgroup(cpu_weight=300) as three,
        Sandbox(new={"pid"}, cgroup=one) as box,
        Sandbox(new={"pid"}, cgroup=three) as other,
    ):
        for each in (box, other):
            each.start([sys.executable, "-I", "-S", "-c", f"{pin}\nwhile 1: pass"]).expect("1")
        ratios = [ratio_of_cpu(one, three) for _ in range(5)]
    # a machine that has other work takes from both, and not evenly: the middle of five counts
    assert 2 < statistics.median(ratios) < 4.5, ratios


def ratio_of_cpu(one, other):
    before = [group.usage().cpu_seconds for group in (one, other)]
    time.sleep(1)
    spent = [g.usage().cpu_seconds - b for g, b in zip((one, other), before, strict=True)]
    return spent[1] / spent[0]


# --- tasks --------------------------------------------------------------------------------------

FORK_TEN = """
import os, time
n = 0
for _ in range(10):
    try:
        if os.fork() == 0:
            time.sleep(60)
        n += 1
    except BlockingIOError:
        pass
print(n, flush=True)
"""


def test_forks_beyond_the_limit_are_refused_and_counted():
    with Cgroup(pids=4) as group:
        done = run_in(group, FORK_TEN)
        assert done.stdout == "3\n"
        assert group.usage().pids_refused == 7


# --- disks --------------------------------------------------------------------------------------


WRITE = """
import mmap, os, time
fd = os.open({!r}, os.O_WRONLY | os.O_DIRECT)
block = mmap.mmap(-1, 1 << 16)
began = time.monotonic()
for i in range(32):
    os.pwrite(fd, block, i << 16)
print(time.monotonic() - began)
"""


def test_direct_writes_are_limited(loop):
    with Cgroup(io={loop: "1M"}) as group:
        number = f"7:{loop.removeprefix('/dev/loop')}"
        assert group.limits.io == {number: Rates(MIB, MIB)}
        seconds = float(run_in(group, WRITE.format(loop)).stdout)
        assert group.usage().io_written_bytes == 2 * MIB
        assert group.set(io={loop: {"write": "2M"}}).io == {number: Rates(None, 2 * MIB)}
        assert group.set(io=None).io == {}
    assert 1.5 < seconds < 4


# --- freezing and killing -----------------------------------------------------------------------


def test_a_frozen_group_stands_still_and_goes_on():
    with Cgroup() as group, Sandbox(new={"pid"}, cgroup=group) as box:
        program = box.start([sys.executable, "-I", "-S", "-c", "while True: pass"])
        group.freeze()
        assert group.frozen
        before = group.usage().cpu_seconds
        time.sleep(0.1)
        assert group.usage().cpu_seconds == before
        group.thaw()
        assert not group.frozen
        wait_until(lambda: group.usage().cpu_seconds > before)
        group.freeze()
        group.kill()
        assert program.wait(5) == -signal.SIGKILL


def test_kill_ends_groups_below_and_leaves_the_group():
    with Cgroup() as group, group.child("one") as one, group.child("two") as two:
        with sleeper() as first, sleeper() as second:
            one.add(first.pid)
            two.add(second.pid)
            group.kill()
            assert first.wait(5) == second.wait(5) == -signal.SIGKILL
        assert one.processes() == two.processes() == []


# --- nesting and delegation ---------------------------------------------------------------------


def test_in_nested_groups_the_smaller_limit_decides():
    with Cgroup(pids=3) as group, group.child("inner", pids=10) as inner:
        assert run_in(inner, FORK_TEN).stdout == "2\n"


def test_a_child_goes_with_its_parent():
    group = Cgroup().open()
    child = group.child("inner").open()
    folders = [*group.folders.values(), *child.folders.values()]
    group.close()
    assert not any(folder.exists() for folder in folders)


@pytest.mark.skipif(not V2, reason="the rule is cgroup v2's")
def test_v2_hands_nothing_down_past_processes_and_says_so():
    with Cgroup() as group, sleeper() as program:
        group.add(program.pid)
        with pytest.raises(InternalProcesses, match=r"(?s)EBUSY.*subtree_control.*mkdir"):
            group.child("inner", pids=3).open()
        group.kill()
        with group.child("inner", pids=3) as inner:
            assert inner.limits.pids == 3
            with pytest.raises(InternalProcesses):
                group.add(os.getpid())


# --- events -------------------------------------------------------------------------------------


def test_an_oom_kill_is_told_when_it_happens():
    with Cgroup(memory="32M", swap=0) as group, group.events() as events:
        run_in(group, "b = bytearray(b'1') * (64 << 20)")
        event = events.wait(2)
        assert (event.kind, event.count, event.new) == ("oom_kill", 1, 1)
        assert events.wait(0) is None
        run_in(group, "b = bytearray(b'1') * (64 << 20)")
        assert events.wait(2).count == 2


def test_refused_forks_are_told():
    with Cgroup(pids=4) as group, group.events() as events:
        run_in(group, FORK_TEN)
        event = events.wait(2)
        assert event.kind == "fork_refused"
        assert event.count >= event.new >= 1
        rest = events.wait(0.1)
        assert (rest or event).count == 7


def test_what_was_before_is_not_told():
    with Cgroup(pids=4) as group:
        run_in(group, FORK_TEN)
        with group.events() as events:
            assert events.wait(0.05) is None


def test_events_have_a_descriptor_for_event_loops():
    with Cgroup(memory="32M", swap=0) as group:
        events = group.events()
        assert select.select([events], [], [], 0.1)[0] == [] or events.read() == []
        run_in(group, "b = bytearray(b'1') * (64 << 20)")
        assert select.select([events], [], [], 2)[0] == [events]
        assert [event.kind for event in events.read()] == ["oom_kill"]
        events.close()
        with pytest.raises(CgroupClosed):
            events.read()


# --- what is missing, and what is left ----------------------------------------------------------


def test_a_missing_controller_is_named(monkeypatch):
    monkeypatch.setattr(places, "trees", dict)
    with pytest.raises(MissingController, match=r"no controller memory(?s:.*)lab doctor"):
        Cgroup(memory="1M").open()


def test_swap_that_is_not_counted_cannot_be_limited(monkeypatch, tmp_path):
    from labsupport.linux.cgroup import controllers

    (tmp_path / "swaps").write_text("Filename Type\n/swap file\n")
    monkeypatch.setattr(controllers, "SWAPS", tmp_path / "swaps")
    with pytest.raises(MissingController, match="does not count"):
        controllers.without_swap_file("memory.swap.max", 0)
    (tmp_path / "swaps").write_text("Filename Type\n")
    controllers.without_swap_file("memory.swap.max", 0)


def test_the_shell_lines_do_the_same():
    with Cgroup(pids=20) as group:
        lines = [step.shell for step in group.shell()]
        folder = group.folders["pids"]
    assert f"mkdir {folder}" in lines
    assert f"echo 20 > {folder}/pids.max" in lines


def test_groups_of_a_killed_owner_are_swept():
    code = """
        import subprocess, time
        from labsupport import Cgroup
        group = Cgroup(memory="32M", pids=20).open()
        child = group.child("inner").open()
        program = subprocess.Popen(["sleep", "77"])
        child.add(program.pid)
        print(program.pid, flush=True)
        time.sleep(60)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    pid = int(owner.stdout.readline())
    mark = ownership.mark(owner.pid).replace(":", "-")
    assert census.cgroups(mark)
    assert not any(mark in leftover.what for leftover in ownership.leftovers())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert any(mark in leftover.what for leftover in ownership.leftovers())
    ownership.sweep()
    assert census.cgroups(mark) == []
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in state(pid))


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
