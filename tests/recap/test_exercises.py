"""The exercise of 13: two containments of one program; each wrong answer gets its reason."""

import os
import subprocess

import pytest

from labsupport import Sandbox, probe
from labsupport.engine.listing import owner_labels
from tests.fixtures_course import refused


@pytest.fixture(autouse=True)
def engine_here(request):
    if os.geteuid() == 0:
        request.getfixturevalue("an_engine")
    elif refusal := probe().why_not("engine"):
        pytest.skip(f"needs engine: {refusal.reason}")


def in_container(exercise, command=None, labels=None):
    return exercise.engine.client.containers.run(
        "labsupport/busybox", command or exercise.command, detach=True, network_mode="none",
        labels=labels or exercise.labels,
    )  # fmt: skip


def in_sandbox(exercise, new=("pid", "mount")):
    exercise.box = Sandbox(new=new).open()
    return exercise.box.start(exercise.command)


@pytest.fixture
def unlabelled():
    """Run the command in a container that the exercise will not clean up."""
    made = []

    def run(exercise):
        made.append(in_container(exercise, labels=owner_labels()))

    yield run
    for container in made:
        container.remove(force=True)
        container.client.close()


@pytest.mark.wrong("13.1")
def test_a_container_that_would_not_be_cleaned_up_is_refused(begun, unlabelled):
    exercise = begun("13.1", 1)
    unlabelled(exercise)
    in_sandbox(exercise)
    refused(exercise, "lacks the labels")


def in_a_shell(exercise):
    return ["sh", "-c", f"{' '.join(exercise.command)}; true"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda e: [in_container(e), in_container(e)], "2 times in containers of the engine, 0 t"),
        (lambda e: [in_container(e), in_sandbox(e), e.box.start(e.command)],
         "once in containers of the engine, 2 times elsewhere"),
        (lambda e: [in_container(e), in_sandbox(e, new=("mount", "uts"))], "not PID 1"),
        (lambda e: [in_container(e, in_a_shell(e)), in_sandbox(e)], "in the container it is PID"),
    ],
    ids=["two-containers", "one-more", "not-pid-1", "in-a-shell"],
)  # fmt: skip
@pytest.mark.wrong("13.1")
def test_what_is_not_one_of_each_as_pid_1_is_refused(begun, answer, said):
    exercise = begun("13.1", 1)
    answer(exercise)
    refused(exercise, said)


def test_commands_alone_will_do(begun):
    exercise = begun("13.1", 1)
    in_container(exercise)
    argv = ["unshare", "--pid", "--fork", "--kill-child", *exercise.command]
    if os.geteuid() != 0:
        argv[1:1] = ["--user", "--map-root-user"]
    typed = subprocess.Popen(argv)
    try:
        while not (verdict := exercise.check()) and "0 times elsewhere" in verdict.saw:
            assert typed.poll() is None
    finally:
        typed.kill()
        typed.wait()
    assert verdict, verdict
    assert set(exercise.label_options.split()) == {
        f"--label={name}={text}" for name, text in exercise.labels.items()
    }


def test_what_was_started_under_other_commands_goes_too(begun):
    exercise = begun("13.1", 1)
    made = [in_container(exercise, in_a_shell(exercise)), in_container(exercise, "true")]
    client = exercise.engine.client
    exercise.stop()
    left = {each.id for each in client.containers.list(all=True, ignore_removed=True)}
    assert not left & {each.id for each in made}
    client.close()
