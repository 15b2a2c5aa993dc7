"""What holds for exercises whatever they are about (those of 03 and 07; others have their own)."""

import itertools
from collections import Counter
from importlib import import_module

import pytest

from labsupport import Exercise
from labsupport.course.catalogue import chapters

NUMBERS = ["03.1", "03.2", "03.3", "07.1", "07.2", "07.3"]
THREE = 3
every = pytest.mark.parametrize("number", NUMBERS)


@every
@pytest.mark.untouched(*NUMBERS)
def test_an_untouched_start_is_refused(begun, number):
    assert not begun(number).check()


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@every
@pytest.mark.right(*NUMBERS)
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


CHAPTERS = [chapter for chapter in chapters() if chapter.exercises]


def marks_of(module):
    """Count, by kind and number, what the marks of a module's tests say (see conftest)."""
    found = Counter()
    for test in vars(module).values():
        marks = [mark for mark in getattr(test, "pytestmark", ()) if callable(test)]
        cases = [len(mark.args[1]) for mark in marks if mark.name == "parametrize"]
        for mark in marks:
            if mark.name == "wrong":
                found[mark.name, mark.args[0]] += mark.kwargs.get("times", 1) * max([1, *cases])
            elif mark.name in ("untouched", "right"):
                found.update(itertools.product([mark.name], mark.args))
    return found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.number)
def test_every_exercise_has_its_tests(chapter):
    """A solution that passes, an untouched start and three wrong answers that are refused."""
    name = f"e{chapter.number}"
    here = set(import_module(f"labsupport.course.{name}").EXERCISES)
    assert here == set(chapter.exercises)
    found = marks_of(import_module(f"tests.course.test_{name}")) + marks_of(import_module(__name__))
    lacking = [
        f"{number}: {found[kind, number]} of {least} {kind}"
        for number in sorted(here)
        for kind, least in (("untouched", 1), ("right", 1), ("wrong", THREE))
        if found[kind, number] < least
    ]
    assert lacking == []
