"""Control groups: what the kernel says of them, in v1 and v2 alike (tests/vm runs this as well)."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labsupport import Cgroup, Sandbox
from labsupport.cgroup import files, life
from labsupport.cgroup.files import Limits
from labsupport.errors import (
    CgroupClosed,
    CgroupRefused,
    LabError,
    MissingController,
    ProcessGone,
    TimedOut,
)
from labsupport.kernel.mounts import trees, version
from labsupport.ownership import marks
from labsupport.sandbox import launch
from tests import census
from tests.cgroup.conftest import MARK
from tests.waiting import is_alive, owner, sleeper, wait_until

pytestmark = pytest.mark.usefixtures("nothing_is_left")
V2 = version() == 2
MIB = 1 << 20


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
    v1 = {"memory.limit_in_bytes": "67108864", "pids.max": "20", "cpu.cfs_quota_us": "20000",
          "cpu.shares": "3072"}  # fmt: skip
    v2 = {"memory.max": "67108864", "pids.max": "20", "cpu.max": "20000 100000",
          "cpu.weight": "300"}  # fmt: skip
    says = {path.name: text for path, text in files.values()}
    assert says.items() >= (v2 if V2 else v1).items()


def test_limits_change_while_a_program_runs_and_are_read_back():
    with Cgroup(memory="64M", swap=0, pids=20) as group, sleeper() as program:
        group.add(program.pid)
        assert group.set(memory="32M").memory_bytes == 32 * MIB
        assert group.set(memory="128M", cpu=0.5) == Limits(128 * MIB, 0, 20, 0.5, 100)
        assert group.set(memory=10 * MIB + 1).memory_bytes == 10 * MIB  # whole pages
        lifted = group.set(memory=None, swap=None, pids=None, cpu=None, cpu_weight=None)
        assert lifted.memory_bytes is lifted.pids is lifted.cpu is None


@pytest.mark.parametrize("amount", ["64M", "64m", "64MiB", "64 MB", "65536K", 67108864.0, 64 * MIB])
def test_bytes_are_understood(amount):
    assert files.bytes_of(amount, "memory") == 64 * MIB


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("memory", "lots"), ("memory", -1), ("memory", 0.5), ("memory", True), ("memory", "64X"),
        ("swap", float("nan")), ("pids", -1), ("pids", 2.5), ("pids", "many"), ("cpu", 0),
        ("cpu", 0.001), ("cpu", "50%"), ("cpu", 2000), ("io", "2M"), ("pids", "20"),
        ("cpu_weight", 0), ("cpu_weight", 10_001),
        ("io", {"/dev/null": "1M"}), ("io", {"/nonesuch": "1M"}), ("io", {"7:0": "fast"}),
        ("memory", "1K"), ("memory", "0.5"), ("swap", 4095), ("io", {"7:0": 0}),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_anything_is_made(word, value):
    with pytest.raises(LabError, match=word):
        Cgroup(**{word: value})


def test_slips_of_beginners_get_their_own_words():
    with pytest.raises(LabError, match=r'64M.*a limit of what(?s:.*)memory="64M"'):
        Cgroup("64M")
    with pytest.raises(LabError, match=r"no limit 'mem'.*did you mean 'memory'"):
        Cgroup(mem="64M")
    with pytest.raises(LabError, match=r'What to do: .*"64M"'):
        Cgroup(memory="lots")
    with Cgroup() as group:
        with pytest.raises(LabError, match=r"group\.set\(memory='1K'\)"):
            group.memory = "1K"
        with pytest.raises(LabError, match="would become 0"):
            group.set(memory="1K")
        with pytest.raises(LabError, match=r"process\.pid"):
            group.add("self")
        assert group.limits.memory_bytes is None


def test_a_name_leads_nowhere_else():
    for make in (lambda: Cgroup(name="../x"), lambda: Cgroup().child("../x")):
        with pytest.raises(LabError, match="is not a word"):
            make()


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
            child = group.child("inner").open()
            child.add(program.pid)
            folders = [*group.folders.values(), *child.folders.values()]
        assert program.wait(60) == -signal.SIGKILL
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
    with pytest.raises(ProcessGone):
        Cgroup.files_of(program.pid)


# --- memory -------------------------------------------------------------------------------------


HOG = "b = bytearray(b'1') * ({} << 20); print('survived')"


@pytest.mark.skipif(V2, reason="v2 can limit swap alone")
def test_v1_limits_swap_only_together_with_memory():
    with pytest.raises(LabError, match="together"), Cgroup(swap=0):
        pytest.fail("it must not be made")


# --- CPU ----------------------------------------------------------------------------------------

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


def test_forks_beyond_the_limit_are_refused_counted_and_told():
    with Cgroup(pids=4) as group:
        with group.events() as events:
            assert run_in(group, FORK_TEN).stdout == "3\n"
            assert group.usage().pids_refused == 7
            event = events.wait(60)
            assert event.kind == "fork_refused"
            assert event.count >= event.new >= 1
            assert (events.wait(0.1) or event).count == 7
        with group.events() as later:  # what was before is not told
            assert later.wait(0.05) is None


# --- disks --------------------------------------------------------------------------------------


# --- freezing and killing -----------------------------------------------------------------------


@pytest.mark.parametrize("new", [{"pid"}, {"uts"}], ids=str)
def test_a_sandbox_in_a_frozen_group_ends_and_its_neighbours_stay_frozen(new):
    with Cgroup() as group, Sandbox(cgroup=group) as neighbour:
        neighbour.start(["sleep", "60"])
        with Sandbox(new=new, cgroup=group) as box:
            program = box.start(["unshare", "--pid", "--fork", "sleep", "60"])
            group.freeze()
        assert program.wait(60) == -signal.SIGKILL
        assert group.frozen
        assert len(group.processes()) == 1


def test_nobody_waits_for_ever_for_what_does_not_end(monkeypatch):
    monkeypatch.setattr(launch, "thaw_below", lambda _: None)
    monkeypatch.setattr(launch, "END_SECONDS", 0.1)
    with Cgroup() as group:
        box = Sandbox(cgroup=group).open()
        program = box.start(["sleep", "60"])
        group.freeze()
        if V2:  # a kill goes through the ice
            box.close()
        else:
            with pytest.raises(TimedOut, match=f"PID {program.pid}, state D"):
                box.close()
            group.thaw()
        assert program.wait(60) == -signal.SIGKILL


def test_a_notebook_ends_with_a_sandbox_open_in_a_frozen_group():
    code = """
        from labsupport import Cgroup, Sandbox
        group = Cgroup().open()
        Sandbox(cgroup=group).open().start(["sleep", "60"])
        group.freeze()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=20)


def test_kill_ends_groups_below_even_a_frozen_one_and_leaves_the_group():
    with Cgroup() as group, group.child("one") as one, group.child("two") as two:
        with sleeper() as first, sleeper() as second:
            one.add(first.pid)
            two.add(second.pid)
            one.freeze()
            group.kill()
            assert first.wait(60) == second.wait(60) == -signal.SIGKILL
        assert one.processes() == two.processes() == []


# --- nesting and delegation ---------------------------------------------------------------------


# --- events -------------------------------------------------------------------------------------


def test_an_oom_kill_is_told_when_it_happens():
    with Cgroup(memory="32M", swap=0) as group:
        events = group.events()
        assert select.select([events], [], [], 0.1)[0] == [] or events.read() == []
        run_in(group, HOG.format(64))
        event = events.wait(60)
        assert (event.kind, event.count, event.new) == ("oom_kill", 1, 1)
        assert events.wait(0) is None
        run_in(group, HOG.format(64))
        if trees()["memory"].version == 2:
            assert select.select([events], [], [], 2)[0] == [events]  # for event loops
        assert [(event.kind, event.count) for event in events.read()] == [("oom_kill", 2)]
        events.close()
        with pytest.raises(CgroupClosed):
            events.read()


# --- what is missing, and what is left ----------------------------------------------------------


def test_a_missing_controller_is_named(monkeypatch):
    monkeypatch.setattr(life, "trees", dict)
    with pytest.raises(MissingController, match=r"no controller memory(?s:.*)lab doctor"):
        Cgroup(memory="1M").open()


def test_swap_that_is_not_counted_cannot_be_limited(monkeypatch, tmp_path):
    (tmp_path / "swaps").write_text("Filename Type\n/swap file\n")
    monkeypatch.setattr(files, "SWAPS", tmp_path / "swaps")
    with pytest.raises(MissingController, match="does not count"):
        files.without_swap_file("memory.swap.max", 0)
    (tmp_path / "swaps").write_text("Filename Type\n")
    files.without_swap_file("memory.swap.max", 0)


def test_an_owner_that_ends_leaves_no_group():
    code = """
        import os, subprocess
        from labsupport import Cgroup
        group = Cgroup(pids=20).open()
        group.add(subprocess.Popen(["sleep", "77"]).pid)
        if os.fork() == 0:
            raise SystemExit  # a copy of the owner, and not the owner
        os.wait()
        print(len(group.processes()))
        Cgroup().open()  # nobody holds it
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    ended = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    mark = marks.mark(ended.pid).replace(":", "-")
    assert ended.communicate(timeout=30)[0] == "1\n"
    assert census.cgroups(mark) == []


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
    with owner(code) as (notebook, pid):
        mark = marks.mark(notebook).replace(":", "-")
        assert census.cgroups(mark)
        assert not any(mark in leftover.what for leftover in marks.leftovers())
    assert any(mark in leftover.what for leftover in marks.leftovers())
    marks.sweep()
    assert census.cgroups(mark) == []
    wait_until(lambda: not is_alive(int(pid)))


@pytest.fixture
def strangers():
    """Empty groups in ours: of a dead owner, a living one, one elsewhere, and somebody else's."""
    tree = next(iter(life.choose({"pids"}).values()))
    home = MARK.rpartition("-")[2]
    dead = f"labsupport-cgroup-999999999-{os.getpid()}-{home}-1"  # another run has others
    elsewhere = f"{dead.rpartition(home)[0]}00000000-1"
    names = [dead, life.new_name(), elsewhere, f"labsupport-notes-{os.getpid()}"]
    folders = [tree.parent / name for name in names]
    for folder in folders:
        folder.mkdir()
    yield folders
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):  # another notebook has swept
            folder.rmdir()


def test_only_groups_of_dead_owners_are_found(strangers):
    named = {folder.name for folder in strangers}
    strangers[0].mkdir(exist_ok=True)
    found = {leftover.what.removeprefix("cgroup ") for leftover in life.find()}
    assert found & named == {strangers[0].name}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_a_group_of_another_user_is_not_ours_to_remove(strangers, nobody):
    found = {leftover.what for leftover in life.find()}
    assert f"cgroup {strangers[0].name}" not in found
