"""What tests of exercises share.

A mark tells which exercise a test answers wrongly, so that `test_every_exercise` can count them; a
marked test fails unless the check refused that many answers, each with its own reason.
"""

import json
from collections import defaultdict

import pytest

from labsupport import Exercise
from labsupport.course import course_map
from tests.waiting import wait_until

MARK = "wrong(number, times=1): sees that many typical wrong answers get their reason"


def pytest_configure(config):
    config.addinivalue_line("markers", MARK)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    refused, check = set(), Exercise.check

    def watched(exercise):
        verdict = check(exercise)
        if not verdict:
            refused.add((exercise.name, verdict.saw))
        return verdict

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exercise, "check", watched)
        result = yield
    for mark in pyfuncitem.iter_markers("wrong"):
        reasons = [saw for name, saw in refused if name == mark.args[0]]
        assert len(reasons) >= mark.kwargs.get("times", 1), f"{mark} saw only {reasons}"
    return result


def handed_in(folder, *answers, **facts):
    """Write a file with 02.1 for each answer, a list of cells, as somebody may write it."""
    exercises = [
        {"name": "02.1", "seed": 7, "passed": True, "saw": "", "answer": answer,
         "solution_shown": False, **facts} for answer in answers or ([],)
    ]  # fmt: skip
    path = folder / "handed_in.json"
    path.write_text(json.dumps({"format": course_map.FORMAT, "exercises": exercises}))
    return path


def refused(exercise, said=""):
    """Check until these words are the reason why the answer is wrong; return the whole reason.

    It is told at once or soon: the check itself does not wait for what would become right.
    """
    exercise.moment, seen = 0, set()

    def saw():
        verdict = exercise.check()
        assert not verdict
        seen.add(verdict.saw)
        return said in verdict.saw and verdict.saw

    try:
        return wait_until(saw, why=lambda: f"{said!r} is not in {seen}")
    finally:
        del exercise.moment


def solve(exercise):
    """Run a solution that is Python, as a cell."""
    exec(exercise.solution().body, {"exercise": exercise})


_seen = defaultdict(dict)  # by exercise: what each seed makes of it


def variant(begun, number, tell, wanted):
    """Start an exercise by the first seed for which `tell(exercise)` is what is wanted."""
    for seed in range(60):
        if _seen[number].get(seed, wanted) == wanted:
            exercise = begun(number, seed)
            _seen[number][seed] = found = tell(exercise)
            if found == wanted:
                return exercise
    raise AssertionError(f"no seed makes {number} {wanted}")


@pytest.fixture
def begun():
    """Return what starts an exercise by number and seed; all are stopped at the end."""
    started = []

    def begin(number, seed=1):
        exercise = Exercise.of(number, seed)
        exercise.start()
        started.append(exercise)
        return exercise

    yield begin
    for exercise in started:
        exercise.stop()
