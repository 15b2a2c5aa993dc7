"""Exercises of 02: typical wrong answers get their reason."""

import os
import signal
import time

import pytest

from labsupport import Sandbox
from labsupport.kernel.procfs import status


@pytest.fixture
def first(begun):
    return begun("02.1")


def ended(exercise, *processes):
    for process in processes:
        process.wait(60)
    return exercise.check()


@pytest.mark.wrong("02.1")
def test_ending_pid_1_ends_all_and_is_told_so(first):
    os.kill(first.box.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert "PID 1 has ended" in first.check().saw


@pytest.mark.wrong("02.1")
def test_ending_a_neighbour_is_told_so(first):
    other = next(each for each in first._waiting if each is not first._wanted)
    other.signal(signal.SIGTERM)
    assert "others have ended, too" in ended(first, other).saw


@pytest.mark.wrong("02.1")
def test_a_signal_from_inside_is_told_by_its_sender(first):
    """Who counts in there needs no translation."""
    first.box.run(["sh", "-c", f"kill -TERM {first._number}"])
    verdict = ended(first, first._wanted)
    assert "which is inside, too" in verdict.saw


@pytest.mark.wrong("02.1")
@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGINT, "got SIGINT, not SIGTERM")],
)
def test_another_signal_is_not_the_one(first, number, words):
    first._wanted.signal(number)
    assert words in ended(first, first._wanted).saw


@pytest.mark.wrong("02.1")
def test_stopping_it_is_not_ending_it(first):
    first._wanted.signal(signal.SIGSTOP)
    while status(first._wanted.pid).state != "T":
        time.sleep(0.01)
    assert f"PID {first._number} is stopped" in first.check().saw


@pytest.mark.wrong("02.1")
def test_closing_the_whole_sandbox_is_told(first):
    first.box.close()
    assert "nothing runs in the sandbox any more" in first.check().saw


@pytest.mark.parametrize(
    ("before", "levels"), [([], 0), (["unshare", "--pid"], 0), (["unshare", "--pid", "--fork"], 1)]
)
@pytest.mark.wrong("02.2")
def test_too_few_levels_are_counted(begun, before, levels):
    exercise = begun("02.2", 1)
    exercise.box = Sandbox(new={"uts"}).open()
    exercise.box.start([*before, "sleep", str(exercise.seconds)])
    verdict = checked_once_it_runs(exercise)
    assert f"lives {levels} levels below, not {exercise._depth}" in verdict.saw


def checked_once_it_runs(exercise):
    until = time.monotonic() + 10
    while "no process runs" in (verdict := exercise.check()).saw and time.monotonic() < until:
        time.sleep(0.05)
    assert not verdict
    return verdict


@pytest.mark.wrong("02.2", times=2)
def test_wrong_depth_and_wrong_number_are_told(begun):
    exercise = begun("02.2", 2)  # a sleep that no other test waits for
    program = ["sleep", str(exercise.seconds)]
    with Sandbox(new={"pid", "mount"}) as box:
        box.start(program)
        assert f"1 levels below, not {exercise._depth}" in exercise.check().saw
    with Sandbox(new={"pid", "mount"}) as box:
        inner = ["unshare", "--pid", "--fork", "--mount-proc"] * (exercise._depth - 1)
        box.start([*inner, "sh", "-c", f"{' '.join(program)}; true"])
        time.sleep(0.3)
        assert "innermost it is PID 2, not 1" in exercise.check().saw
    assert "no process runs" in exercise.check().saw


@pytest.mark.wrong("02.2")
def test_one_at_each_level_is_not_one(begun):
    exercise = begun("02.2", 4)
    program = ["sleep", str(exercise.seconds)]
    deeper = ["unshare", "--pid", "--fork", "--mount-proc"]
    with Sandbox(new={"pid", "mount"}) as box:
        box.start(program)
        for levels in (1, 2):
            box.start([*deeper * levels, *program])
        time.sleep(0.3)
        assert "3 processes run" in exercise.check().saw
