"""What holds for exercises whatever they are about (those of 03 and 07; others have their own)."""

import pytest

from labsupport import Exercise

NUMBERS = ["03.1", "03.2", "03.3", "07.1", "07.2", "07.3"]
every = pytest.mark.parametrize("number", NUMBERS)


@every
def test_an_untouched_start_is_refused(begun, number):
    assert not begun(number).check()


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@every
def test_the_solution_passes(begun, number, seed):
    exercise = begun(number, seed)
    exec(exercise.solution().body, {"exercise": exercise})
    verdict = exercise.check()
    assert verdict, verdict


@every
def test_seeds_vary_the_task_and_repeat_it(begun, number):
    bodies = [begun(number, seed).start().body for seed in range(5)]
    assert len(set(bodies)) > 1
    assert begun(number, 3).start().body == bodies[3]


@every
def test_there_are_two_hints(number):
    exercise = Exercise.of(number)
    assert exercise.hint().body != exercise.hint().body
