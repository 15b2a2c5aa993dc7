"""Exercises of 08: the right answer passes, typical wrong ones get their reason."""

import pytest

from labsupport import Exercise, Filter
from labsupport.course import e08
from labsupport.linux.workshop import steps

NUMBERS = ("08.1", "08.2", "08.3")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.untouched(*NUMBERS)
@pytest.mark.right(*NUMBERS)
def test_only_the_solution_passes(number, seed, begun):
    exercise = begun(number, seed)
    assert not exercise.check()
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


@pytest.mark.wrong("08.1")
def test_a_missing_step_at_an_impossible_place_is_told(begun):
    exercise = next(
        e for seed in range(20) if (e := begun("08.1", seed)).missing is steps.own_network
    )
    exercise.steps.append(steps.own_network)
    assert "own_network failed" in exercise.check().saw


def without(begun, step):
    return next(e for seed in range(20) if (e := begun("08.1", seed)).missing is step)


@pytest.mark.wrong("08.1")
def test_a_step_too_often_is_told(begun):
    exercise = without(begun, steps.own_network)
    exercise.steps.append(steps.own_users)
    assert "own_users failed" in exercise.check().saw


@pytest.mark.wrong("08.1")
def test_another_step_in_place_of_the_missing_one_is_told(begun):
    exercise = without(begun, steps.own_name)
    exercise.steps.insert(exercise.steps.index(steps.own_mounts), steps.own_mounts)
    assert "`hostname` still works: it learns the host's name" in exercise.check().saw


@pytest.mark.wrong("08.1")
def test_opening_another_way_out_is_told(begun):
    exercise = without(begun, steps.own_name)
    exercise.steps = [step for step in exercise.steps if step is not steps.own_network]
    exercise.steps.insert(1, steps.own_name)
    verdict = exercise.check()
    assert not verdict
    assert "that is closed, but now network" in verdict.saw


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (lambda order: order[:-1], "not the same steps"),
        (lambda order: [order[-1], *order[:-1]], "take own_filter last"),
        (lambda order: sorted(order, key=lambda step: step.__name__), "take few_capabilities lat"),
    ],
)
@pytest.mark.wrong("08.2")
def test_an_order_that_the_kernel_refuses_is_told(begun, order, said):
    exercise = begun("08.2", 1)
    exercise.steps = order(list(e08.STEPS))
    verdict = exercise.check()
    assert not verdict
    assert said in verdict.saw


@pytest.mark.wrong("08.2")
def test_another_order_of_other_steps_is_no_answer(begun):
    exercise = begun("08.2", 1)
    exercise.steps = [steps.own_root]
    assert "not the same steps" in exercise.check().saw


@pytest.mark.parametrize(
    ("more", "errno", "said"),
    [
        (lambda calls: ["link"], "EPERM", "still works"),
        (lambda calls: calls[:2], "ENOSYS", "failed for another reason"),
        (lambda calls: [*calls[:2], "openat", "open"], "EPERM", "so is what is harmless"),
    ],
)
@pytest.mark.parametrize("wish", sorted(e08.Refuse.WISHES))
@pytest.mark.wrong("08.3")
def test_a_filter_that_refuses_too_little_or_too_much_is_told(begun, wish, more, errno, said):
    exercise = next(e for seed in range(30) if (e := begun("08.3", seed)).wish == wish)
    exercise.filter = Filter.deny([*e08.DENIED, *more(exercise.calls)], errno)
    verdict = exercise.check()
    assert not verdict
    assert said in verdict.saw


@pytest.mark.parametrize("wish", sorted(e08.Refuse.WISHES))
@pytest.mark.wrong("08.3", times=2)
def test_a_filter_that_forgets_the_elder_or_the_younger_call_is_told(begun, wish):
    exercise = next(e for seed in range(30) if (e := begun("08.3", seed)).wish == wish)
    told = []
    for call in exercise.calls[:2]:
        exercise.filter = Filter.deny([*e08.DENIED, call])
        told.append(exercise.check().saw)
    assert any("still works" in saw for saw in told)
    assert any("another program may still call" in saw for saw in told)


@pytest.mark.wrong("08.3")
def test_a_filter_that_forgets_the_old_ones_is_told(begun):
    exercise = begun("08.3", 1)
    exercise.filter = Filter.deny(exercise.calls[:2])
    assert "is allowed" in exercise.check().saw
