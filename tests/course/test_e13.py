"""The exercise of 13: two containments of one program; each wrong answer gets its reason."""

import os

import pytest

from labsupport import Sandbox, probe


@pytest.fixture(autouse=True)
def engine_here(request):
    if os.geteuid() == 0:
        request.getfixturevalue("an_engine")
    elif refusal := probe().why_not("engine"):
        pytest.skip(f"needs engine: {refusal.reason}")


def in_container(exercise, command=None):
    return exercise.engine.client.containers.run(
        "labsupport/busybox", command or exercise.command, detach=True, network_mode="none",
        labels=exercise.labels,
    )  # fmt: skip


def in_sandbox(exercise, new=("pid", "mount")):
    exercise.box = Sandbox(new=new).open()
    return exercise.box.start(exercise.command)


@pytest.mark.untouched("13.1")
def test_an_untouched_start_is_refused(begun):
    verdict = begun("13.1", 1).check()
    assert not verdict
    assert "runs 0 times in containers" in verdict.saw


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.right("13.1")
def test_the_solution_passes(begun, seed):
    exercise = begun("13.1", seed)
    exec(exercise.solution().body, {"exercise": exercise})
    assert exercise.check(), exercise.check()


@pytest.mark.wrong("13.1")
def test_two_containers_are_refused(begun):
    exercise = begun("13.1", 1)
    in_container(exercise), in_container(exercise)
    verdict = exercise.check()
    assert not verdict
    assert "2 times in containers of the engine, 0 times elsewhere" in verdict.saw


@pytest.mark.wrong("13.1")
def test_a_program_that_is_no_pid_1_is_refused(begun):
    exercise = begun("13.1", 1)
    in_container(exercise)
    in_sandbox(exercise, new=("mount", "uts"))
    verdict = exercise.check()
    assert not verdict
    assert "no PID 1" in verdict.saw


@pytest.mark.wrong("13.1")
def test_a_shell_around_it_in_the_container_is_refused(begun):
    exercise = begun("13.1", 1)
    in_container(exercise, ["sh", "-c", f"{' '.join(exercise.command)}; true"])
    in_sandbox(exercise)
    verdict = exercise.check()
    assert not verdict
    assert "in the container it is PID" in verdict.saw


def test_nothing_is_left(begun):
    exercise = begun("13.1", 1)
    exec(exercise.solution().body, {"exercise": exercise})
    wrapped = ["sh", "-c", f"{' '.join(exercise.command)}; true"]
    made = [
        *exercise._containers(),
        in_container(exercise, wrapped),
        in_container(exercise, "true"),
    ]
    assert len(made) == 3
    client = exercise.engine.client
    exercise.stop()
    assert not {each.id for each in client.containers.list(all=True, ignore_removed=True)} & {
        each.id for each in made
    }
    client.close()
