"""Exercises of 08: the right answer passes, typical wrong ones get their reason."""

import pytest

from labsupport import Exercise, Filter
from labsupport.linux.workshop import steps

NUMBERS = ("08.1", "08.2", "08.3")


@pytest.mark.parametrize("number", NUMBERS)
def test_an_untouched_start_is_refused(number, begun):
    assert not begun(number, 7).check()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_passes(number, seed, begun):
    exercise = begun(number, seed)
    exec(exercise.solution().body, {"exercise": exercise})
    verdict = exercise.check()
    assert verdict, verdict


@pytest.mark.parametrize("number", NUMBERS)
def test_seeds_vary_the_task(number):
    tasks = set()
    for seed in range(6):
        exercise = Exercise.of(number, seed)
        tasks.add(exercise.start().body.partition("192.")[0])
        exercise.stop()
    assert len(tasks) > 1


def test_a_missing_step_at_an_impossible_place_is_told(begun):
    exercise = next(
        e for seed in range(20) if (e := begun("08.1", seed)).missing is steps.own_network
    )
    exercise.steps.append(steps.own_network)
    assert "own_network failed" in exercise.check().saw


def test_another_order_of_other_steps_is_no_answer(begun):
    exercise = begun("08.2", 1)
    exercise.steps = [steps.own_root]
    assert "not the same steps" in exercise.check().saw


def test_a_filter_that_refuses_too_much_is_told(begun):
    exercise = begun("08.3", 1)
    exercise.filter = Filter.deny([*exercise.calls[:2], "openat", "open"])
    verdict = exercise.check()
    assert not verdict, verdict


def test_a_filter_that_forgets_the_old_ones_is_told(begun):
    exercise = begun("08.3", 1)
    exercise.filter = Filter.deny(exercise.calls[:2])
    assert "is allowed" in exercise.check().saw
