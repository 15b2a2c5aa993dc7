"""Exercises of 02: the right answer passes, typical wrong ones get their reason."""

import os
import signal
import time

import pytest

from labsupport import Exercise, Sandbox, processes
from labsupport.errors import ExerciseNotStarted, UnknownExercise
from labsupport.linux.procfs import all_pids, status


@pytest.fixture(params=["02.1", "02.2"])
def exercise(request):
    exercise = Exercise.of(request.param, seed=7)
    yield exercise
    exercise.stop()


@pytest.fixture
def first():
    exercise = Exercise.of("02.1", seed=1)
    exercise.start()
    yield exercise
    exercise.stop()


def solve(exercise):
    scope = {"exercise": exercise}
    exec(exercise.solution().body, scope)
    time.sleep(0.3)
    return scope


@pytest.mark.untouched("02.1", "02.2")
def test_an_untouched_start_is_refused(exercise):
    exercise.start()
    assert not exercise.check()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("number", ["02.1", "02.2"])
@pytest.mark.right("02.1", "02.2")
def test_the_solution_passes(number, seed):
    exercise = Exercise.of(number, seed)
    exercise.start()
    scope = solve(exercise)
    verdict = exercise.check()
    exercise.stop()
    if "mine" in scope:
        scope["mine"].close()
    assert verdict, verdict


def test_a_check_before_the_start_says_so(exercise):
    with pytest.raises(ExerciseNotStarted, match=r"exercise\.start\(\)"):
        exercise.check()


def test_there_are_two_hints_and_the_second_stays(exercise):
    bodies = [exercise.hint().body for _ in range(3)]
    assert bodies[0] != bodies[1] == bodies[2]


def test_seeds_vary_the_task_and_repeat_it():
    def tasks(number, seeds):
        exercises = [Exercise.of(number, seed) for seed in seeds]
        found = [exercise.start().body for exercise in exercises]
        for exercise in exercises:
            exercise.stop()
        return found

    for number in ("02.1", "02.2"):
        assert len(set(tasks(number, range(6)))) > 1
        assert len(set(tasks(number, [3, 3]))) == 1


def test_an_unknown_exercise_lists_the_known_ones():
    with pytest.raises(UnknownExercise, match=r"no exercise '02\.9'.*02\.1, 02\.2"):
        Exercise.of("02.9")
    with pytest.raises(UnknownExercise):
        Exercise.of("99.1")


@pytest.mark.wrong("02.1")
def test_ending_pid_1_ends_all_and_is_told_so(first):
    os.kill(first.box.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert "PID 1 has ended" in first.check().saw


@pytest.mark.wrong("02.1")
def test_ending_a_neighbour_is_told_so(first):
    other = next(each for each in first.started if each is not first.wanted)
    other.signal(signal.SIGKILL)
    other.wait()
    assert "others have ended, too" in first.check().saw


def test_what_still_runs_is_told(first):
    assert f"PID {first.number} among them" in first.check().saw


@pytest.mark.wrong("02.1")
def test_stopping_it_is_not_ending_it(first):
    first.wanted.signal(signal.SIGSTOP)
    while status(first.wanted.pid).state != "T":
        time.sleep(0.01)
    verdict = first.check()
    assert not verdict
    assert f"PID {first.number} is stopped" in verdict.saw


@pytest.mark.wrong("02.1")
def test_closing_the_whole_sandbox_is_told(first):
    first.box.close()
    assert "nothing runs in the sandbox any more" in first.check().saw


@pytest.mark.parametrize(
    ("before", "levels"),
    [([], 0), (["unshare", "--pid"], 0), (["unshare", "--pid", "--fork"], 1)],
)
@pytest.mark.wrong("02.2")
def test_too_few_levels_are_counted(begun, before, levels):
    exercise = begun("02.2", 1)
    exercise.box = Sandbox(new={"uts"}).open()
    exercise.box.start([*before, "sleep", str(exercise.seconds)])
    verdict = checked_once_it_runs(exercise)
    assert f"lives {levels} levels below, not {exercise.depth}" in verdict.saw


def checked_once_it_runs(exercise):
    until = time.monotonic() + 10
    while "no process runs" in (verdict := exercise.check()).saw and time.monotonic() < until:
        time.sleep(0.05)
    assert not verdict
    return verdict


def test_stopping_takes_the_scene_down(first):
    pids = {process.pid for process in processes(of=first.box)}
    assert len(pids) == 6
    first.stop()
    assert not pids & set(all_pids())


@pytest.mark.wrong("02.2", times=3)
def test_wrong_depth_and_wrong_number_are_told():
    exercise = Exercise.of("02.2", seed=1)
    exercise.start()
    program = ["sleep", str(exercise.seconds)]
    with Sandbox(new={"pid", "mount"}) as box:
        box.start(program)
        assert f"1 levels below, not {exercise.depth}" in exercise.check().saw
    with Sandbox(new={"pid", "mount"}) as box:
        inner = ["unshare", "--pid", "--fork", "--mount-proc"] * (exercise.depth - 1)
        box.start([*inner, "sh", "-c", f"{' '.join(program)}; true"])
        time.sleep(0.3)
        assert "innermost it is PID 2, not 1" in exercise.check().saw
    assert "no process runs" in exercise.check().saw
