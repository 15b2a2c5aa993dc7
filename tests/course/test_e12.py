"""Exercises of 12, in one machine: the right answer passes, wrong ones get their reason (2 min)."""

import pytest

from labsupport import VirtualMachine, probe

REFUSAL = probe().why_not("qemu")
pytestmark = pytest.mark.skipif(REFUSAL is not None, reason=f"needs qemu: {REFUSAL}")


@pytest.fixture(scope="module")
def machine():
    with VirtualMachine.create("1G", "4G", 1, name="exercises") as machine:
        machine.start()
        machine.wait(600)
        yield machine


def solve(exercise):
    exec(exercise.solution().body, {"exercise": exercise})


@pytest.mark.untouched("12.1")
@pytest.mark.wrong("12.1", times=4)
@pytest.mark.right("12.1")
def test_a_page_gets_out_through_two_doors(machine, begun):
    exercise = begun("12.1", 7)
    assert exercise.vm is machine
    assert "page-7" in exercise.check().saw

    closed = ["docker", "run", "-d", "--network", "none", "--name", "page-7"]
    machine.ssh([*closed, machine.base.app_base, "sleep", "600"])
    verdict = exercise.check()
    assert not verdict
    assert "publishes no port" in verdict.saw

    machine.ssh(["docker", "rm", "--force", "page-7"])
    solution = exercise.solution().body
    only_the_container = solution.replace(f"exercise.vm.open_port({exercise.port})", "")
    assert only_the_container != solution
    exec(only_the_container, {"exercise": exercise})
    verdict = exercise.check()
    assert not verdict
    assert f"the machine's port {exercise.port} is closed to the outside" in verdict.saw

    machine.ssh(["docker", "rm", "--force", "page-7"])
    solve(exercise)
    verdict = exercise.check()
    assert verdict, verdict
    assert exercise.word in verdict.saw

    machine.ssh(["sh", "-c", "echo something else > ~/page/index.html"])
    assert "something else" in exercise.check().saw


@pytest.mark.untouched("12.2")
@pytest.mark.wrong("12.2", times=4)
@pytest.mark.right("12.2")
def test_a_container_comes_back_after_a_restart(machine, begun):
    exercise = begun("12.2", 3)
    assert f"restart policy of {exercise.service} is `no`" in exercise.check().saw

    machine.ssh(["docker", "update", "--restart", "on-failure", exercise.service])
    assert "is `on-failure`" in exercise.check().saw

    machine.ssh(["docker", "update", "--restart", "always", exercise.service])
    assert "docker.service is disabled" in exercise.check().saw

    machine.ssh(["sudo", "systemctl", "enable", "docker"])
    assert "created" in exercise.check().saw

    solve(exercise)
    verdict = exercise.check()
    assert verdict, verdict


def test_seeds_vary_the_task(machine, begun):
    tasks = {(e := begun("12.1", seed)).word + str(e.port) for seed in (1, 2)}
    assert len(tasks) == 2
