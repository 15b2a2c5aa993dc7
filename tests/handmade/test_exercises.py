"""Exercises of 08: typical wrong answers, and cheats, get their reason."""

import pytest

from labsupport import Filter
from labsupport.handmade import exercises
from labsupport.handmade.building import own_mounts, own_name, own_network, own_users
from tests.fixtures_course import refused, variant
from tests.handmade.test_handmade import defined

rename = defined("def rename(c):\n    linux.sethostname('other')\n", "rename")
unfinished = defined("def own_name(c):\n    ...\n", "own_name")


def replaced(steps, old, *new):
    return [other for step in steps for other in (new if step is old else [step])]


@pytest.mark.parametrize(
    ("missing", "change", "said"),
    [
        (own_network, lambda steps: [*steps, own_network], "own_network failed"),
        (own_network, lambda steps: [*steps, own_users], "own_users failed"),
        (
            own_name,
            lambda steps: replaced(steps, own_mounts, own_mounts, own_mounts),
            "`hostname` still works: it learns the host's name",
        ),
        (
            own_name,
            lambda steps: replaced(steps, own_network, own_name),
            "that is closed, but now network",
        ),
        (own_name, lambda steps: [rename, *steps], "the host calls itself other now"),
        (own_name, lambda steps: [unfinished, *steps], "your line is still missing in own_name"),
    ],
    ids=["place", "too-often", "another-step", "another-way-out", "renames-the-host", "unfinished"],
)
@pytest.mark.wrong("08.1")
def test_a_step_that_does_not_close_it_is_told(begun, missing, change, said):
    exercise = variant(begun, "08.1", lambda exercise: exercise._missing, missing)
    exercise.steps = change(exercise.steps)
    refused(exercise, said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--mount-proc", "--mount", "its /proc shows"),
        ("--uts", "", "its own namespaces are"),
        ("--uts", "--uts --ipc --net --cgroup", "its own namespaces are"),
        ("--pid --fork", "--pid", "its own namespaces are"),
        ("--no-new-privs", "", "no_new_privs is not set"),
        ("--bounding-set=-all", "--bounding-set=-sys_admin", "it has"),
        ("exec ", "true | ", "it is PID"),
        ("hostname box", "hostname fox", "its host name is fox"),
    ],
    ids=[
        "stale-proc", "renames-the-host", "everything", "no-fork", "may-gain", "too-mighty",
        "not-first", "other-name",
    ],
)  # fmt: skip
@pytest.mark.wrong("08.2")
def test_a_container_that_is_not_as_wanted_is_told(begun, old, new, said):
    exercise = begun("08.2", 7)
    line = exercise.answer().partition("\n")[2]
    assert old in line
    exercise.stage.run(["bash", "-c", line.replace(old, new)])
    refused(exercise, said)


def test_a_container_that_could_gain_even_less_is_right(begun):
    exercise = begun("08.2", 7)
    line = exercise.answer().partition("\n")[2]
    kept = exercise._kept
    inherits = f"--inh-caps=-all,+{kept} setpriv --bounding-set=-all "
    exercise.stage.run(["bash", "-c", line.replace("--inh-caps=-all ", inherits).replace(
        f"--bounding-set=-all,+{kept} ", "")])  # fmt: skip
    assert exercise.check(), exercise.check()


@pytest.mark.parametrize(
    ("more", "errno", "said"),
    [
        (lambda calls: ["link"], "EPERM", "still works"),
        (lambda calls: calls, "ENOSYS", "failed for another reason"),
        (lambda calls: [*calls, "openat2"], "EPERM", "openat2 is refused, too"),
        (lambda calls: calls[:-1], "EPERM", "another program may still call"),
    ],
    ids=["another-call", "another-error", "everything", "all-but-the-last"],
)
@pytest.mark.parametrize("wish", sorted(exercises.Refuse.WISHES))
@pytest.mark.wrong("08.3")
def test_a_filter_that_refuses_too_little_or_too_much_is_told(begun, wish, more, errno, said):
    exercise = variant(begun, "08.3", lambda exercise: exercise._wish, wish)
    exercise.filter = Filter.deny([*exercises.DENIED, *more(exercise._calls)], errno)
    saw = refused(exercise)
    assert said in saw or "still works" in saw


@pytest.mark.wrong("08.3")
def test_a_filter_that_forgets_the_old_ones_is_told(begun):
    exercise = begun("08.3", 1)
    exercise.filter = Filter.deny(exercise._calls)
    refused(exercise, "is allowed")


@pytest.mark.wrong("08.3")
def test_steps_without_a_filter_do_not_count(begun):
    exercise = begun("08.3", 1)
    exercise.steps = []
    refused(exercise, "still works")
