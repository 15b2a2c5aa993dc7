"""Exercises of 06: typical wrong answers get their reason, other right ones pass."""

import os
import subprocess

import pytest

from labsupport import Cgroup
from labsupport.cgroup import exercises
from labsupport.cgroup.exercises import MIB
from labsupport.kernel.mounts import version
from tests.fixtures_course import solve
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_is_left")


# --- 06.1: the smallest limit -------------------------------------------------------------------


@pytest.mark.wrong("06.1", times=6)
def test_a_limit_that_is_not_the_smallest_is_told(begun):
    exercise = begun("06.1", 3)
    solve(exercise)
    limit = exercise.group.limits.memory_bytes
    exercise.group.close()
    said = {
        12 * MIB: "the kernel kills it", 512 * MIB: "with 4 MiB less",
        limit + 4 * MIB: "with 4 MiB less",  # the first hint's error: rounded up once too often
        limit + MIB: "not a multiple of 4M", None: "is not limited",
    }  # fmt: skip
    for memory, words in said.items():
        with Cgroup(memory=memory) as exercise.group:
            assert words in exercise.check().saw
    assert "not an open Cgroup" in exercise.check().saw  # it is closed now
    exercise.group = f"{limit >> 20}M"
    assert "not an open Cgroup" in exercise.check().saw


@pytest.mark.wrong("06.1")
def test_another_program_in_place_of_the_given_one_does_not_help(begun):
    exercise = begun("06.1", 3)
    exercise.argv[:] = ["echo", "done"]
    with Cgroup(memory="8M") as exercise.group:
        assert "the kernel kills it" in exercise.check().saw


def test_the_answer_does_not_stand_on_an_edge(begun):
    """A limit half a step smaller or larger must give the same verdict on every machine."""
    exercise = begun("06.1", 3)
    solve(exercise)
    limit = exercise.group.limits.memory_bytes
    with Cgroup(memory=limit - MIB) as less, Cgroup(memory=limit - 3 * MIB) as too_little:
        assert exercise._survives(less)
        assert not exercise._survives(too_little)


# --- 06.2: a share ------------------------------------------------------------------------------


@pytest.mark.wrong("06.2", times=5)
def test_a_wrong_ratio_and_a_quota_are_told(begun, monkeypatch):
    monkeypatch.setattr(exercises, "MEASURED_SECONDS", 0.6)
    exercise = begun("06.2", 3)
    ratio = exercise._ratio
    for first, second, said in (
        (100, 10_000 // ratio, f"weights 100 : {10_000 // ratio}"),
        (100, ratio, f"weights 100 : {ratio}, measured 1 : 0."),
        (100 * ratio, 100, f"wanted 1 : {ratio}"),
    ):
        exercise.first.set(cpu_weight=first)
        exercise.second.set(cpu_weight=second)
        assert said in exercise.check().saw
    solve(exercise)
    exercise.first.set(cpu_weight=100, cpu=os.cpu_count())
    assert "a quota is set" in exercise.check().saw
    exercise.first.set(cpu_weight=100, cpu=0.2)  # a shotgun: weight and quota
    assert not exercise.check()


@pytest.mark.wrong("06.2")
def test_other_groups_in_place_of_the_given_ones_do_not_help(begun, monkeypatch):
    monkeypatch.setattr(exercises, "MEASURED_SECONDS", 0.6)
    exercise = begun("06.2", 3)
    with Cgroup(cpu_weight=100 * exercise._ratio) as exercise.second:
        assert not exercise.check()


# --- 06.3: the bomb -----------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["a group of others", "everything"])
@pytest.mark.wrong("06.3")
def test_ending_others_is_told(begun, which):
    exercise = begun("06.3", 3)
    for name, group in exercise.groups.items():
        if which == "everything" or name != exercise._where:
            group.kill()
            if which != "everything":
                break
    left = 0 if which == "everything" else 2
    assert f"only {left} of the 4 others still run" in exercise.check().saw


@pytest.fixture
def bombed(begun):
    """Return the exercise, and the group in which its bomb has gone off."""
    exercise = begun("06.3", 3)
    bomb = exercise.groups[exercise._where]
    wait_until(lambda: len(bomb.processes()) > 1)
    return exercise, bomb


@pytest.mark.wrong("06.3", times=2)
def test_a_frozen_bomb_and_frozen_others_are_told(bombed):
    exercise, bomb = bombed
    bomb.freeze()
    assert "frozen" in exercise.check().saw
    bomb.thaw()
    assert "the bomb still has" in exercise.check().saw
    other = next(group for name, group in exercise.groups.items() if name != exercise._where)
    other.freeze()
    bomb.kill()
    assert "the other programs are frozen" in exercise.check().saw


@pytest.mark.wrong("06.3")
def test_a_bomb_that_was_moved_away_is_told(bombed):
    exercise, bomb = bombed
    with Cgroup(pids=40, cpu=0.5) as elsewhere:
        bomb.set(pids=0)
        while pids := bomb.processes():
            for pid in pids:
                elsewhere.add(pid)
        assert "has left its group" in exercise.check().saw


def test_commands_alone_are_enough(bombed):
    """As the second hint has them."""
    exercise, bomb = bombed
    v1 = "echo 0 > {0}/pids.max; kill -9 $(cat {0}/cgroup.procs)"
    line = ("echo 1 > {0}/cgroup.kill" if version() == 2 else v1).format(bomb.folders["pids"])
    subprocess.run(["sh", "-c", line], check=False)  # some may have ended before they are killed
    wait_until(lambda: not bomb.processes())
    verdict = exercise.check()
    assert verdict, verdict


def test_its_first_process_takes_the_whole_bomb_with_it(bombed):
    """As the first hint says."""
    exercise, bomb = bombed
    exercise._bomb.process.signal(9)
    assert exercise._bomb.wait(60) == -9
    wait_until(lambda: not bomb.processes())
    assert exercise.check()
