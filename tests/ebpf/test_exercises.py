"""The exercise of 14: typical wrong answers get their reason."""

import signal

import pytest

from tests.fixtures_course import refused


@pytest.fixture
def waiting(begun):
    """Return the exercise, the sandbox that is meant, the other one, and the file."""
    exercise = begun("14.1", 3)
    meant = exercise._boxes[exercise._side]
    [other] = {exercise.east, exercise.west} - {meant}
    return exercise, meant, other, exercise.answer().split()[-1]


@pytest.mark.parametrize(
    ("in_meant", "in_other", "said"),
    [
        (["touch", "/mnt/wrong"], ["true"], "holds no file that it waits for: wrong"),
        (["true"], ["touch", "{file}"], "there is something in"),
        (["touch", "{file}", "/mnt/one", "/mnt/two"], ["true"], "holds files that nobody waits"),
    ],
    ids=["another-file", "another-sandbox", "shotgun"],
)
@pytest.mark.wrong("14.1")
def test_a_file_that_is_not_the_one(waiting, in_meant, in_other, said):
    exercise, meant, other, file = waiting
    meant.run([word.format(file=file) for word in in_meant])
    other.run([word.format(file=file) for word in in_other])
    refused(exercise, said)


@pytest.mark.wrong("14.1")
def test_another_program_in_its_place_is_a_cheat(waiting):
    exercise, meant, _, file = waiting
    exercise._programs[exercise._side].signal(signal.SIGKILL)
    exercise._programs[exercise._side].wait()
    meant.run(["touch", file])
    meant.start(["tail", "-f", file])
    refused(exercise, "has been ended")


def test_no_command_line_tells_the_name(waiting):
    _exercise, meant, other, file = waiting
    said = "".join(box.run("tail -v -c +1 /proc/[0-9]*/cmdline").stdout for box in (meant, other))
    assert "sh" in said
    assert file not in said
