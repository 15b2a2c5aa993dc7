"""What tests of exercises share.

A mark tells which exercise a test answers wrongly, so that `test_every_exercise` can count them; a
marked test fails unless the check refused that many answers, each with its own reason.
"""

import pytest

from labsupport import Exercise

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


def refused(exercise):
    """Check; the answer must be wrong. Return what the check says of it."""
    verdict = exercise.check()
    assert not verdict
    return verdict.saw


def solve(exercise):
    """Run a solution that is Python, as a cell."""
    exec(exercise.solution().body, {"exercise": exercise})


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
