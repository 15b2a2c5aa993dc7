"""Exercises of 12, in one machine: the right answer passes, wrong ones get their reason (6 min)."""

import pytest

from labsupport import VirtualMachine
from labsupport.build.bases import APP_BASE_TAG
from labsupport.sandbox.shell import run_in, script, split
from tests.fixtures_course import solve

pytestmark = [pytest.mark.needs("qemu"), pytest.mark.thorough]
ENABLED = "sudo systemctl enable --now docker.service"


@pytest.fixture(scope="module")
def machine():
    with VirtualMachine.create("1G", "4G", 1, name="exercises") as machine:
        machine.start()
        machine.wait(600)
        yield machine


@pytest.fixture
def typed(machine):
    """Type lines in the machine, as a cell does."""

    def typed(*lines):
        said = []
        status = run_in(machine, script(split("\n".join(lines))), said.append)
        assert status == 0, b"".join(said).decode()

    return typed


@pytest.mark.wrong("12.1", times=4)
def test_a_page_gets_out_through_two_doors(machine, begun, typed):
    exercise = begun("12.1", 7)
    assert exercise.vm is machine
    assert "page-7" in exercise.check().saw

    run = f"docker run -d --name page-7 {APP_BASE_TAG}"
    typed(run.replace("run", "run --network none") + " sleep 600")
    assert "publishes no port" in exercise.check().saw

    solution = exercise.solution().body
    only_the_container = solution.replace(f"exercise.vm.open_port({exercise.port})", "")
    assert only_the_container != solution
    typed("docker rm --force page-7")
    exec(only_the_container, {"exercise": exercise})
    door = f"the machine's port {exercise.port} is closed to the outside"
    assert door in exercise.check().saw

    # a cheat: the container is there, but the page is served by the machine, past it
    typed("docker rm --force page-7", f"docker run -d --name page-7 {APP_BASE_TAG} sleep 600")
    assert "publishes no port" in exercise.check().saw

    typed("docker rm --force page-7")
    exec(solution, {"exercise": exercise})
    verdict = exercise.check()
    assert verdict, verdict
    assert exercise.word in verdict.saw

    typed("echo something else > ~/page/index.html")
    assert "something else" in exercise.check().saw


def test_an_exercise_takes_its_container_and_its_door_with_it(machine, begun):
    for seed in (7, 8, 9):  # two of them have the same port
        exercise = begun("12.1", seed)
        solve(exercise)
        assert exercise.check()
        exercise.stop()
        assert "No such object" in exercise.state()
        assert machine.open_ports == {}


@pytest.mark.wrong("12.2", times=4)
def test_a_container_comes_back_after_a_restart(begun, typed):
    exercise = begun("12.2", 3)
    name = exercise.container
    assert "docker.service is inactive" in exercise.check().saw

    typed(ENABLED, f"docker start {name}")
    assert "its restart policy is `no`" in exercise.check().saw

    # a cheat: it runs again, because somebody has logged in and started all by hand
    typed("sudo systemctl disable docker.service docker.socket", "sudo systemctl start docker")
    typed(f"docker update --restart always {name}", f"docker start {name}")
    assert "docker.service is inactive" in exercise.check().saw

    typed(ENABLED, f"docker update --restart unless-stopped {name}", f"docker stop {name}")
    assert "exited; its restart policy is `unless-stopped`" in exercise.check().saw

    typed(f"docker rm --force {name}")
    assert "o such" in exercise.check().saw
