"""Exercises of 07: typical wrong answers get their reason."""

import pytest

from labsupport import Filter, record
from tests.fixtures_course import variant


def names_of(exercise):
    return record(exercise.program).names


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda e: Filter.deny([e._call], e._errno), "system calls are allowed"),
        (lambda e: Filter.allow(names_of(e), otherwise="ENODEV"), "fails with ENODEV, not"),
        (lambda e: Filter.allow(names_of(e), otherwise="kill"), "“kill”"),
        (lambda e: Filter.allow({*names_of(e)} - {"write"}, otherwise=e._errno), "does not work"),
        (lambda _: "deny", "not a filter"),
    ],
    ids=["too-much", "another-errno", "kills", "too-little", "a-word"],
)
@pytest.mark.wrong("07.1")
def test_a_filter_that_is_not_what_was_asked_for(begun, make, said):
    exercise = begun("07.1")
    exercise.filter = make(exercise)
    assert said in exercise.check().saw


def test_another_program_in_its_place_changes_nothing(begun):
    exercise = begun("07.1")
    exercise.program = ["true"]
    exercise.filter = Filter.allow(names_of(exercise), otherwise=exercise._errno)
    assert not exercise.check()


@pytest.mark.parametrize(
    ("bounding", "said"),
    [("-all,+chown", "no process"), ("+all", "more than it needs"),
     ("-all,+kill,+{needed}", "more than it needs: CAP_KILL")],
    ids=["another", "shotgun", "two"],
)  # fmt: skip
@pytest.mark.wrong("07.2")
def test_a_server_with_too_many_or_too_few(begun, bounding, said):
    exercise = begun("07.2", 3)
    command = exercise.answer().splitlines()[1].split()
    needed = exercise._needed.removeprefix("CAP_").lower()
    command[1] = f"--bounding-set={bounding.format(needed=needed)}"
    assert exercise.box.pid
    exercise.box.run(command)
    assert said in exercise.check().saw


@pytest.mark.wrong("07.2")
def test_a_server_outside_of_the_sandbox_is_not_the_one(begun):
    exercise = begun("07.2")
    exercise._port = 0  # any that is free
    exercise.box.run("true")
    assert "no process in the sandbox" in exercise.check().saw


def shut(exercise):
    return exercise._call in exercise._refused, exercise._needed not in exercise._caps


@pytest.mark.parametrize(
    ("by_filter", "by_capability", "change", "said"),
    [
        (True, False, lambda e: setattr(e, "filter", None), "has got wider"),
        (False, True, lambda e: setattr(e, "keep", None), "has got more"),
        (False, True, lambda e: setattr(e, "keep", {e._needed}), "CAP_CHOWN, CAP_KILL has been"),
        (True, True, lambda e: e.keep.add(e._needed), "still fails"),
        (True, False, lambda e: setattr(e, "filter", "deny"), "not a filter"),
        (True, True, lambda e: setattr(e, "program", ["true"]), "still fails"),
    ],
    ids=["no-filter", "all-capabilities", "lost-capabilities", "one-of-two", "a-word", "cheat"],
)
@pytest.mark.wrong("07.3")
def test_opening_more_or_less_than_the_gate(begun, by_filter, by_capability, change, said):
    exercise = variant(begun, "07.3", shut, (by_filter, by_capability))
    change(exercise)
    assert said in exercise.check().saw


def test_the_program_can_be_run_to_experiment(begun):
    assert begun("07.3").run().returncode != 0
