"""The console: what it shows is the kernel's, what it does is done to the kernel."""

import asyncio
import time

import pytest

from labsupport import Cgroup, CgroupConsole, Disk
from labsupport.cgroup import console as module
from labsupport.cgroup.curves import MIB, GroupRecord
from labsupport.cgroup.files import Limits, Usage
from labsupport.cgroup.group import Event
from labsupport.errors import LabError

pytestmark = pytest.mark.anyio


class Clock:
    """A group whose counters and whose time are set by hand."""

    def __init__(self):
        self.now, self.seconds, self.periods, self.throttled = 0.0, 0.0, 0, 0
        self.limits = Limits(cpu=0.2)

    def __call__(self):
        return self.now

    def usage(self):
        return Usage(
            cpu_seconds=self.seconds, periods=self.periods, throttled_periods=self.throttled,
            memory_bytes=1,
        )  # fmt: skip

    def go(self, cpus, throttled=0, seconds=0.05):
        self.now += seconds
        self.seconds += cpus * seconds
        self.throttled += throttled


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def record(clock):
    return GroupRecord(clock, clock=clock)


@pytest.mark.parametrize("late", [0.0, 0.004, 0.013, 0.02])
def test_bursts_of_a_throttled_group_are_averaged_over_its_periods(clock, record, late):
    """20 ms in every 100 ms, read about every 50 ms: no reading is above the limit."""
    for number in range(80):
        clock.now += 0.05 + (late if number % 3 else 0)
        clock.periods, into = divmod(clock.now, 0.1)
        clock.seconds = clock.periods * 0.02 + min(into, 0.02)
        record.sample()
    assert max(sample.cpus for sample in record.samples) <= 0.2 * 1.001
    assert all(sample.cpus > 0.17 for sample in record.samples[20:])


def test_throttled_periods_that_follow_each_other_are_one_stretch(clock, record):
    for throttled in (0, 1, 1, 0, 1, *[0] * 16, 2):
        clock.go(0.2, throttled, seconds=0.1)
        record.sample()
    first, second = record.strikes
    assert (first.kind, first.count) == ("throttled", 3)
    assert (first.at_seconds, first.until_seconds) == pytest.approx((0.2, 0.5))
    assert second.count == 2


def test_kills_are_never_merged_and_refused_forks_are(record):
    for at in (1.0, 1.1):
        record.struck(Event("oom_kill", at, 1, 1))
        record.struck(Event("fork_refused", at, 30, 30))
    assert [(s.kind, s.count) for s in record.strikes] == [
        ("oom_kill", 1), ("fork_refused", 60), ("oom_kill", 1),
    ]  # fmt: skip


@pytest.fixture
def group(nothing_is_left):
    with Cgroup(memory="24M", pids=12, cpu=0.15) as group:
        yield group


@pytest.fixture
def console(group):
    return CgroupConsole(group)


async def test_the_last_reading_is_drawn(console):
    data = await console.run(0.4)
    assert 0.4 <= data.samples[-1].at_seconds <= data.seconds


async def test_every_strike_is_recorded_with_its_time(console, monkeypatch):
    monkeypatch.setattr(module, "DANGER_SECONDS", 1.2)
    await console.run(2, ["hog", "bomb", "burner"])
    usage = console.group.usage()
    assert console.count("oom_kill") == usage.oom_kills == 1
    assert 0 < console.count("fork_refused") <= usage.pids_refused
    assert 0 < console.count("throttled") <= usage.throttled_periods
    kill = next(strike for strike in console.strikes if strike.kind == "oom_kill")
    assert kill.at_seconds < console.strikes[-1].at_seconds
    await asyncio.sleep(0.1)  # for the end of the last one
    kinds = [end.kind for end in console.ends]
    assert kinds == ["hog", "bomb", "burner"]
    last = console.samples[-1]
    assert console.data.seconds >= last.at_seconds > 2  # the axis has grown
    assert (last.memory_limit_bytes, last.cpu_limit, last.task_limit) == (24 * MIB, 0.15, 12)
    assert console.data.files["pids"] == "pids.max"
    victim = min(console.ends, key=lambda end: abs(end.at_seconds - kill.at_seconds))
    assert (victim.kind, victim.ending) == ("hog", "was ended by SIGKILL")
    assert any("the kernel struck: OOM kill" in line for line in console.lines)
    assert "1 OOM kill" in console.picture.alt
    assert console.picture.image.startswith(b"<svg")


def test_a_slider_changes_the_kernels_file_and_shows_what_that_says(group, console):
    console.set("memory", 40_000_000)
    path, says = group.files()["memory"]
    assert int(says) == 40_000_000 // 4096 * 4096
    slider = console.sliders["memory"]
    assert slider.value * MIB == int(says)
    assert slider.description == f"{path.name}: memory limit, MiB"
    assert says in console.lines[-1]


async def test_a_refusal_is_told_and_the_slider_goes_back(group, console):
    console._heard("cpu", {"new": -1})
    await console._end_task()
    assert "cpu=-1 is not a share" in console.lines[-1]
    assert group.limits.cpu == console.sliders["cpu"].value == 0.15


def test_buttons_start_programs_in_the_group_and_stop_ends_them(group, console):
    danger = console.start("burner")
    assert danger.pid in group.processes()
    console.stop_all()
    assert group.processes() == []
    with pytest.raises(LabError, match=r"hog.*burner|burner.*hog"):
        console.start("hogg")


async def test_a_writer_is_drawn_against_its_limit(nothing_is_left, monkeypatch):
    monkeypatch.setattr(module, "DANGER_SECONDS", 2)
    with Disk("8M") as disk, Cgroup(io={disk.device: "2M"}) as group:
        console = CgroupConsole(group, disk=disk.device)
        await console.run(1, ["writer"])
        assert 1 < max(sample.written for sample in console.samples) / MIB < 2.4
        assert console.samples[-1].write_limit == 2 * MIB
        console.set("io", "1M")
        assert console.sliders["io"].value == 1
        assert [*group.limits.io.values()] == [MIB]
        assert group.set(io=None).io == {}


def test_a_burner_beside_a_bomb_burns_with_what_it_has(nothing_is_left):
    """Entering a group that is full is allowed, forking is not: it must not end by that."""
    with Cgroup(pids=8, cpu=0.5) as group:
        console = CgroupConsole(group)
        console.start("bomb")
        time.sleep(0.5)
        burner = console.start("burner")
        time.sleep(0.5)
        assert burner.returncode is None
        console.stop_all()


def test_a_button_without_its_limit_cannot_be_pressed(nothing_is_left):
    with Cgroup(pids=12) as group:
        console = CgroupConsole(group)
        hog, bomb = console.buttons["hog"], console.buttons["bomb"]
        assert (hog.disabled, bomb.disabled) == (True, False)
        assert "starts only with a limit" in hog.tooltip
        assert "(no limit)" in console.sliders["memory"].description
        with pytest.raises(LabError, match="nothing limits memory"):
            console.start("hog")
        assert group.processes() == []


async def test_it_stops_when_told_and_when_run_again(console):
    asyncio.get_running_loop().call_later(0.3, setattr, console.picture, "stopping", True)
    began = time.monotonic()
    await console.run(20)
    console.buttons["watch"].click()
    await console.run(0.5)
    assert 0.3 <= time.monotonic() - began < 20
    assert console._task.done()


async def test_an_interrupt_ends_it_and_is_passed_on(console):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(console.run(20), 0.3)
    assert not console.picture.running


async def test_closing_the_group_while_it_is_watched_is_no_accident(group, console):
    console.buttons["watch"].click()
    await asyncio.sleep(0.2)
    group.close()
    await console._task
    assert "not open" in console.lines[-1]


async def test_a_control_used_afterwards_is_obeyed_and_leaves_the_recording(group, console):
    """The next cell asserts on it, and a student may play with the sliders before that."""
    recorded = await console.run(1.5, ["hog"])
    before, samples, strikes = console.picture.image, [*console.samples], [*console.strikes]
    console.sliders["pids"].value = 8
    await asyncio.sleep(0.5)
    assert console.picture.running
    assert console.picture.image != before
    assert len(console.data.samples) > 1
    assert (console.samples, console.strikes) == (samples, strikes)
    assert console.count("oom_kill") == 1
    assert recorded.samples == tuple(samples)
    console.picture.stopping = True
    await console._task
    assert group.limits.pids == 8
    assert not console.picture.running


def test_shown_by_itself_it_is_still_even_when_its_group_is_closed(group, console, capsys):
    console._ipython_display_()
    assert not console.picture.running
    assert console.picture.image.startswith(b"<svg")
    group.close()
    console._ipython_display_()
    assert "not open" in console.lines[-1]
