"""What tests of exercises share."""

import pytest

from labsupport import Exercise


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
