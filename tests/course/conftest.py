"""What tests of exercises share.

Marks tell which exercise a test is about, so that `test_every_exercise` can count them; a marked
test fails unless the check gave it such verdicts.
"""

import pytest

from labsupport import Exercise

MARKS = (
    "untouched(*numbers): sees that what has not been touched is refused",
    "right(*numbers): sees that the solution, or an answer as good, is accepted",
    "wrong(number, times=1): sees so many typical wrong answers get their reason",
)


def pytest_configure(config):
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    verdicts, check = [], Exercise.check

    def watched(exercise):
        verdicts.append((exercise.name, check(exercise)))
        return verdicts[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exercise, "check", watched)
        result = yield
    for mark in pyfuncitem.iter_markers():
        _hold(mark, verdicts)
    return result


def _hold(mark, verdicts):
    """Raise unless the verdicts are what the mark says."""
    if mark.name == "untouched":
        [(name, verdict), *_] = verdicts
        assert name in mark.args, f"{mark} began with {name}"
        assert not verdict, verdict
    elif mark.name == "right":
        assert any(verdict and name in mark.args for name, verdict in verdicts), mark
    elif mark.name == "wrong":
        reasons = {verdict.saw for name, verdict in verdicts if name in mark.args and not verdict}
        assert len(reasons) >= mark.kwargs.get("times", 1), f"{mark} saw only {reasons}"


@pytest.fixture
def begun():
    """Return what starts an exercise by number and seed; all are stopped in the end."""
    started = []

    def begin(number, seed=1):
        exercise = Exercise.of(number, seed)
        exercise.start()
        started.append(exercise)
        return exercise

    yield begin
    for exercise in started:
        exercise.stop()
