"""Exercises of 07: the right answer passes, typical wrong ones get their reason."""

import pytest

from labsupport import Filter, Sandbox, processes, record
from labsupport.course import e07

NUMBERS = ["07.1", "07.2", "07.3"]
SEEDS = [1, 2, 3, 4, 5]
NEW = {"pid", "mount", "net"}


def test_the_seeds_cover_all_variants(begun):
    assert {begun("07.2", seed).needed for seed in range(20)} == {
        "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN"}  # fmt: skip
    shut = {
        (each.call in each.refused, each.needed in each.caps)
        for each in (begun("07.3", seed) for seed in range(30))
    }
    assert shut == {(True, True), (True, False), (False, False)}


def other_errno(exercise):
    return next(errno for errno in e07.ERRNOS if errno != exercise.errno)


@pytest.mark.wrong("07.1")
def test_a_filter_that_only_refuses_the_call_allows_too_much(begun):
    exercise = begun("07.1")
    exercise.filter = Filter.deny([exercise.call], exercise.errno)
    assert "system calls are allowed" in exercise.check().saw


@pytest.mark.wrong("07.1")
def test_a_filter_with_another_errno_is_told_apart(begun):
    exercise = begun("07.1")
    names = record(exercise.program).names
    exercise.filter = Filter.allow(names, otherwise=other_errno(exercise))
    assert f"fails with {other_errno(exercise)}, not" in exercise.check().saw


@pytest.mark.wrong("07.1")
def test_a_filter_that_kills_is_not_an_errno(begun):
    exercise = begun("07.1")
    exercise.filter = Filter.allow(record(exercise.program).names, otherwise="kill")
    assert "“kill”" in exercise.check().saw


@pytest.mark.wrong("07.1")
def test_a_filter_under_which_the_program_fails(begun):
    exercise = begun("07.1")
    names = [name for name in record(exercise.program).names if name != "write"]
    exercise.filter = Filter.allow(names, otherwise=exercise.errno)
    assert "does not work" in exercise.check().saw


@pytest.mark.parametrize(
    ("keep", "said"),
    [(None, "more than it needs"), ({"CHOWN"}, "no process"), ("two", "CAP_KILL")],
)
@pytest.mark.wrong("07.2")
def test_a_server_with_too_many_or_too_few(begun, keep, said):
    exercise = begun("07.2")
    keep = {exercise.needed, "KILL"} if keep == "two" else keep
    exercise.box = Sandbox(new=NEW, keep_caps=keep).open()
    server = exercise.box.start(exercise.argv)
    if said == "no process":
        server.wait(5)
    assert said in exercise.check().saw


@pytest.mark.wrong("07.2")
def test_a_server_in_the_wrong_namespaces(begun):
    exercise = begun("07.2")
    exercise.box = Sandbox(new={"pid", "mount"}, keep_caps={exercise.needed}).open()
    assert "lacks one of the namespaces" in exercise.check().saw


def test_stopping_closes_the_students_sandbox(begun):
    exercise = begun("07.2")
    exec(exercise.solution().body, {"exercise": exercise})
    exercise.stop()
    assert processes(of=exercise.box) == []


def variant(begun, *, by_filter, by_capability):
    for seed in range(60):
        exercise = begun("07.3", seed)
        found = exercise.call in exercise.refused, exercise.needed not in exercise.caps
        if found == (by_filter, by_capability):
            return exercise
    raise AssertionError("no such variant")


@pytest.mark.wrong("07.3")
def test_tearing_the_filter_down_is_not_opening_a_gate(begun):
    exercise = variant(begun, by_filter=True, by_capability=False)
    exercise.filter = None
    assert "has got wider" in exercise.check().saw


@pytest.mark.wrong("07.3")
def test_giving_all_capabilities_is_not_opening_a_gate(begun):
    exercise = variant(begun, by_filter=False, by_capability=True)
    exercise.keep = None
    assert "has got more" in exercise.check().saw


@pytest.mark.wrong("07.3")
def test_losing_capabilities_on_the_way_is_noticed(begun):
    exercise = variant(begun, by_filter=False, by_capability=True)
    exercise.keep = {exercise.needed}
    assert "CAP_CHOWN, CAP_KILL has been lost" in exercise.check().saw


@pytest.mark.wrong("07.3")
def test_one_of_two_closed_gates_is_not_enough(begun):
    exercise = variant(begun, by_filter=True, by_capability=True)
    exercise.keep.add(exercise.needed)
    assert "still fails" in exercise.check().saw


def test_the_program_can_be_run_to_experiment(begun):
    assert begun("07.3").run().returncode != 0
