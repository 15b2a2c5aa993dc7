"""Exercises of 06: the right answer passes, typical wrong ones get their reason."""

import time

import pytest

from labsupport import Cgroup, Exercise
from labsupport.course.e06 import MIB
from tests.linux.groups import nothing_is_left

__all__ = ["nothing_is_left"]
pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.fixture(params=["06.1", "06.2", "06.3"])
def exercise(request):
    exercise = Exercise.of(request.param, seed=7)
    yield exercise
    exercise.stop()


@pytest.fixture
def started(request):
    exercise = Exercise.of(request.param, seed=3)
    exercise.start()
    yield exercise
    exercise.stop()


which = pytest.mark.parametrize


def solve(exercise):
    exec(exercise.solution().body, {"exercise": exercise})


@pytest.mark.untouched("06.1", "06.2", "06.3")
@pytest.mark.right("06.1", "06.2", "06.3")
def test_an_untouched_start_is_refused_and_the_solution_passes(exercise):
    exercise.start()
    assert not exercise.check()
    time.sleep(0.3)  # until the bomb is larger than its neighbours
    solve(exercise)
    verdict = exercise.check()
    assert verdict, verdict


def test_seeds_vary_the_task_and_repeat_it():
    for number in ("06.1", "06.2", "06.3"):
        chosen = []
        for seed in (*range(5), 4):
            exercise = Exercise.of(number, seed)
            text = exercise.start().body
            chosen.append((text, getattr(exercise, "argv", None), getattr(exercise, "where", None)))
            exercise.stop()
        assert len({str(each) for each in chosen}) > 1
        assert chosen[-1][1:] == chosen[-2][1:]
        assert chosen[-1][0] == chosen[-2][0]


def test_there_are_two_hints_and_the_second_stays(exercise):
    bodies = [exercise.hint().body for _ in range(3)]
    assert bodies[0] != bodies[1] == bodies[2]


@which("started", ["06.1"], indirect=True)
@pytest.mark.wrong("06.1", times=3)
def test_a_limit_too_small_or_too_large_is_told(started):
    with Cgroup(memory="12M") as small, Cgroup(memory="512M") as large, Cgroup() as none:
        started.group = small
        assert "the kernel kills it" in started.check().saw
        started.group = large
        assert "with 4 MiB less" in started.check().saw
        started.group = none
        assert "is not limited" in started.check().saw
        started.group = None


@which("started", ["06.1"], indirect=True)
def test_the_answer_does_not_stand_on_an_edge(started):
    """A limit half a step smaller or larger must give the same verdict on every machine."""
    solve(started)
    limit = started.group.limits.memory_bytes
    with Cgroup(memory=limit - MIB) as less, Cgroup(memory=limit - 3 * MIB) as too_little:
        assert started._survives(less)
        assert not started._survives(too_little)


@which("started", ["06.2"], indirect=True)
@pytest.mark.wrong("06.2", times=2)
def test_a_wrong_ratio_and_a_quota_are_told(started):
    wrong = 10_000 // started.ratio
    started.second.set(cpu_weight=wrong)
    assert f"weights 100 : {wrong}" in started.check().saw
    started.second.set(cpu_weight=100 * started.ratio)
    started.first.set(cpu=8)
    assert "a quota is set" in started.check().saw


@which("started", ["06.2"], indirect=True)
@pytest.mark.wrong("06.2", times=2)
def test_the_ratio_as_a_weight_or_given_to_the_other_is_told(started):
    started.second.set(cpu_weight=started.ratio)
    assert f"weights 100 : {started.ratio}, measured 1 : 0." in started.check().saw
    started.second.set(cpu_weight=100)
    started.first.set(cpu_weight=100 * started.ratio)
    verdict = started.check()
    assert f"weights {100 * started.ratio} : 100" in verdict.saw
    assert f"wanted 1 : {started.ratio}" in verdict.saw


@which("started", ["06.3"], indirect=True)
@pytest.mark.wrong("06.3")
def test_ending_a_group_of_others_is_told(started):
    innocent = next(name for name in started.groups if name != started.where)
    started.groups[innocent].kill()
    assert "only 2 of the 4 other programs still run" in started.check().saw


@which("started", ["06.3"], indirect=True)
@pytest.mark.wrong("06.3")
def test_ending_everything_is_told(started):
    started.parent.kill()
    assert "only 0 of the 4 other programs" in started.check().saw


@which("started", ["06.3"], indirect=True)
@pytest.mark.wrong("06.3")
def test_a_frozen_bomb_is_not_yet_stopped(started):
    time.sleep(0.2)
    bomb = started.groups[started.where]
    bomb.freeze()
    assert "frozen" in started.check().saw
    bomb.thaw()
    assert "the bomb still has" in started.check().saw


@which("started", ["06.3"], indirect=True)
def test_another_way_lowers_the_limit_and_kills_one_by_one(started):
    bomb = started.groups[started.where]
    time.sleep(0.2)
    bomb.set(pids=0)
    started.bomb.process.signal(9)
    started.bomb.wait(5)
    end = time.monotonic() + 5
    while bomb.processes() and time.monotonic() < end:
        time.sleep(0.01)
    assert started.check()
