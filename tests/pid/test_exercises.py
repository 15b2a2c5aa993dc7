"""Exercises of 02: typical wrong answers get their reason."""

import os
import signal

import pytest

from labsupport import Sandbox
from tests.fixtures_course import refused


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda e: os.kill(e.box.pid, signal.SIGKILL), "PID 1 has ended"),
        (lambda e: another(e).signal(signal.SIGTERM), "others have ended, too"),
        (lambda e: e.box.run(f"kill -TERM {e._number}"), "which is inside, too"),
        (lambda e: e._wanted.signal(signal.SIGKILL), "was ended by SIGKILL"),
        (lambda e: e._wanted.signal(signal.SIGINT), "got SIGINT, not SIGTERM"),
        (lambda e: e._wanted.signal(signal.SIGSTOP), "PID {0._number} is stopped"),
        (lambda e: e.box.close(), "nothing runs in the sandbox any more"),
    ],
    ids=["pid-1", "neighbour", "from-inside", "kill", "interrupt", "stopped", "closed"],
)
@pytest.mark.wrong("02.1")
def test_ending_another_or_otherwise_is_told(begun, answer, said):
    exercise = begun("02.1")
    answer(exercise)
    refused(exercise, said.format(exercise))


def another(exercise):
    return next(each for each in exercise._waiting if each is not exercise._wanted)


@pytest.mark.parametrize(
    ("before", "levels"), [([], 0), (["unshare", "--pid"], 0), (["unshare", "--pid", "--fork"], 1)]
)
@pytest.mark.wrong("02.2")
def test_too_few_levels_are_counted(begun, before, levels):
    exercise = begun("02.2", 1)
    exercise.box = Sandbox(new={"uts"}).open()
    exercise.box.start([*before, "sleep", str(exercise.seconds)])
    said = f"lives {levels} levels below, not {exercise._depth}"
    refused(exercise, said)


@pytest.mark.wrong("02.2", times=2)
def test_wrong_depth_and_wrong_number_are_told(begun):
    exercise = begun("02.2", 2)  # a sleep that no other test waits for
    program = ["sleep", str(exercise.seconds)]
    with Sandbox(new={"pid", "mount"}) as box:
        box.start(program)
        refused(exercise, f"1 levels below, not {exercise._depth}")
    with Sandbox(new={"pid", "mount"}) as box:
        inner = ["unshare", "--pid", "--fork", "--mount-proc"] * (exercise._depth - 1)
        box.start([*inner, "sh", "-c", f"{' '.join(program)}; true"])
        refused(exercise, "innermost it is PID 2, not 1")
    refused(exercise, "no process runs")
