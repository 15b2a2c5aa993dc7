"""The console: what it shows is the kernel's, what it does is done to the kernel."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from labsupport import Cgroup, CgroupConsole
from labsupport.errors import NoLimit, UnknownDanger
from labsupport.linux.cgroups import Limits, Usage
from labsupport.views.curves import MIB
from labsupport.views.group_record import GroupRecord
from tests.linux.groups import nothing_is_left

__all__ = ["nothing_is_left"]


class Clock:
    """A group whose counters and whose time are set by hand."""

    def __init__(self):
        self.now, self.seconds, self.throttled = 0.0, 0.0, 0
        self.limits = Limits(cpu=0.2)

    def __call__(self):
        return self.now

    def usage(self):
        return Usage(cpu_seconds=self.seconds, throttled_periods=self.throttled, memory_bytes=1)

    def go(self, cpus, throttled=0, seconds=0.05):
        self.now += seconds
        self.seconds += cpus * seconds
        self.throttled += throttled


@pytest.fixture
def clock():
    return Clock()


def event(kind, at, new=1):
    return SimpleNamespace(kind=kind, at_seconds=at, new=new)


def test_cpu_use_is_seconds_for_each_second(clock):
    record = GroupRecord(clock, clock)
    for _ in range(40):
        clock.go(0.5)
        last = record.sample()
    assert last.cpus == pytest.approx(0.5)


def test_bursts_of_a_throttled_group_are_averaged_over_its_periods(clock):
    record = GroupRecord(clock, clock)
    for number in range(60):  # 20 ms in every 100 ms, read every 50 ms
        clock.go(0.4 if number % 2 else 0)
        record.sample()
    assert all(0.17 < sample.cpus < 0.23 for sample in record.samples[20:])


def test_throttled_periods_that_follow_each_other_are_one_stretch(clock):
    record = GroupRecord(clock, clock)
    for throttled in (0, 1, 1, 0, 1, *[0] * 12, 2):
        clock.go(0.2, throttled, seconds=0.1)
        record.sample()
    first, second = record.strikes
    assert (first.kind, first.count) == ("throttled", 3)
    assert (first.at_seconds, first.until_seconds) == pytest.approx((0.2, 0.5))
    assert second.count == 2


def test_kills_are_never_merged_and_refused_forks_are(clock):
    record = GroupRecord(clock, clock)
    for at in (1.0, 1.1):
        record.struck(event("oom_kill", at))
        record.struck(event("fork_refused", at, new=30))
    assert [(s.kind, s.count) for s in record.strikes] == [
        ("oom_kill", 1), ("fork_refused", 60), ("oom_kill", 1),
    ]  # fmt: skip


@pytest.fixture
def group(nothing_is_left):
    with Cgroup(memory="24M", pids=12, cpu=0.3) as group:
        yield group


def run(console, seconds, actions=None):
    asyncio.run(console.run(seconds, actions))
    return console


def test_every_strike_is_recorded_with_its_time(group):
    console = run(CgroupConsole(group), 6, {0.1: "hog", 2.5: "bomb", 4: "stop", 4.2: "burner"})
    assert console.count("oom_kill") == group.usage().oom_kills == 1
    assert 0 < console.count("fork_refused") <= group.usage().pids_refused
    assert 0 < console.count("throttled") <= group.usage().throttled_periods
    kill = next(strike for strike in console.strikes if strike.kind == "oom_kill")
    assert 0.1 < kill.at_seconds < 2.5
    assert any("the kernel struck: OOM kill" in line for line in console.lines)
    assert "1 OOM kill" in console.picture.alt
    assert console.picture.png.startswith(b"\x89PNG")


def test_what_is_drawn_is_what_the_kernel_counts(group):
    console = run(CgroupConsole(group), 1)
    assert len(console.samples) >= 8
    last = console.samples[-1]
    assert (last.memory_limit_bytes, last.cpu_limit, last.task_limit) == (24 * MIB, 0.3, 12)
    assert console.data.files["pids"] == "pids.max"


def test_a_slider_changes_the_kernels_file_and_shows_what_that_says(group):
    console = CgroupConsole(group)
    console.set("memory", 40_000_000)
    says = group.files()["memory"][1]
    assert int(says) == 40_000_000 // 4096 * 4096
    slider = next(s for s in console.controls.sliders if s["name"] == "memory")
    assert slider["value"] * MIB == int(says)
    assert slider["kernel"] == group.files()["memory"][0].name
    assert says in console.lines[-1]


def test_a_moved_slider_is_obeyed_and_wakes_the_picture(group):
    async def move():
        console = CgroupConsole(group)
        await console.run(0.3)
        before = console.picture.png
        console.controls._told(None, {"set": "pids", "value": 8}, [])
        assert console.picture.running
        await asyncio.sleep(0.5)
        assert console.picture.png != before
        console.picture.stopping = True
        await console._task
        return console

    console = asyncio.run(move())
    assert group.limits.pids == 8
    assert not console.picture.running


def test_a_refusal_is_told_and_the_slider_goes_back(group):
    console = CgroupConsole(group)
    asyncio.run(_told(console, {"set": "cpu", "value": -1}))
    assert "is no share of CPUs" in console.lines[-1]
    assert group.limits.cpu == 0.3


async def _told(console, message):
    console.controls._told(None, message, [])
    await console._end_task()


def test_buttons_start_programs_in_the_group_and_stop_ends_them(group):
    console = CgroupConsole(group)
    danger = console.start("burner")
    assert danger.pid in group.processes()
    console.stop_all()
    assert group.processes() == []
    with pytest.raises(UnknownDanger, match=r"hog.*burner|burner.*hog"):
        console.start("hogg")


def test_a_button_without_its_limit_cannot_be_pressed(nothing_is_left):
    with Cgroup(pids=12) as group:
        console = CgroupConsole(group)
        missing = {button["name"]: button["missing"] for button in console.controls.buttons}
        assert "starts only with a limit" in missing["hog"]
        assert missing["bomb"] == ""
        with pytest.raises(NoLimit):
            console.start("hog")
        assert group.processes() == []


def test_it_stops_when_told_and_when_run_again(group):
    async def twice():
        console = CgroupConsole(group)
        asyncio.get_running_loop().call_later(0.3, setattr, console.picture, "stopping", True)
        began = time.monotonic()
        await console.run(20)
        first = time.monotonic() - began
        console.controls._told(None, {"press": "watch"}, [])
        await console.run(0.5)
        return first, console, time.monotonic() - began

    first, console, total = asyncio.run(twice())
    assert 0.3 <= first < 5
    assert total < 10
    assert console._task.done()


def test_an_interrupt_ends_it_and_is_passed_on(group):
    async def interrupted():
        console = CgroupConsole(group)
        task = asyncio.create_task(console.run(20))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return console

    assert not asyncio.run(interrupted()).picture.running


def test_closing_the_group_while_it_is_watched_is_no_accident(nothing_is_left):
    async def closed():
        group = Cgroup(memory="24M", pids=12, cpu=0.3).open()
        console = CgroupConsole(group)
        console.controls._told(None, {"press": "watch"}, [])
        await asyncio.sleep(0.2)
        group.close()
        await console._task
        return console

    assert "not open" in asyncio.run(closed()).lines[-1]


def test_a_control_used_afterwards_leaves_the_recording_as_it_is(group):
    """The next cell asserts on it, and a student may play with the sliders before."""

    async def play():
        console = CgroupConsole(group)
        recorded = await console.run(1.5, {0.1: "hog"})
        samples, strikes = list(console.samples), list(console.strikes)
        console.controls._told(None, {"set": "pids", "value": 8}, [])
        await asyncio.sleep(0.5)
        assert console.picture.running
        assert len(console.data.samples) > 1
        assert (console.samples, console.strikes) == (samples, strikes)
        assert console.count("oom_kill") == 1
        assert recorded.samples == tuple(samples)
        console.picture.stopping = True
        await console._task

    asyncio.run(play())
