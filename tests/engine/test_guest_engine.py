"""The engine inside the Lab VM, seen by the guest's kernel (about 15 s, one guest)."""

import json
import sys

import pytest

from labsupport.vm.guest import LabVM
from tests.engines import find_dockerd

PREPARE = """
import json
from pathlib import Path
from labsupport.build.bases import base_image
from labsupport.engine.client import Engine
"""


@pytest.fixture(scope="module")
def guest(vm_kernel):
    if not find_dockerd():
        pytest.skip("needs dockerd (apt-get install docker.io)")
    with LabVM.boot(memory="768M") as guest:
        yield guest


@pytest.fixture(scope="module")
def tell(guest):
    """Run Python in the guest; return what it printed, which is JSON."""

    def tell(program):
        done = guest.run([sys.executable, "-c", PREPARE + program], timeout=90)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return tell


@pytest.fixture(scope="module")
def first(tell):
    """The result of the first use of the engine in this guest."""
    return tell(
        """
assert not Path("/run/labsupport/engine").exists()
engine = Engine.connect()
print(json.dumps([engine.kind, engine.kernel_release, engine.cgroup_version,
                  engine.storage_driver, engine.address]))
"""
    )


def test_it_runs_on_the_guests_kernel_with_cgroup_v2(first, guest):
    assert first == [
        "docker", guest.release, 2, "overlay2", "unix:///run/labsupport/engine/docker.sock",
    ]  # fmt: skip


def test_its_images_are_on_the_guests_disk(first, guest):
    program = "from labsupport.engine.daemon import scratch; print(scratch())"
    scratch = guest.run([sys.executable, "-c", program]).stdout.strip()
    for folder in ("/run/labsupport/engine/data", scratch):
        done = guest.run(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", folder])
        assert done.stdout.split() == ["ext4", "/dev/ubda"]


@pytest.mark.thorough("vm")
def test_without_a_disk_they_are_in_memory(guest):
    program = PREPARE + "engine = Engine.connect(); print(base_image(engine).short_id)"
    with LabVM.boot(memory="512M") as other:
        done = other.run([sys.executable, "-c", program], env={"LAB_DISK": ""}, timeout=90)
        assert done.returncode == 0, done.stderr
        data = other.run(["findmnt", "-n", "-o", "FSTYPE", "-T", "/run/labsupport/engine/data"])
    assert data.stdout == "tmpfs\n"


def test_it_outlives_the_program_that_started_it(first, guest, tell):
    pid = guest.run(["cat", "/run/labsupport/engine/pid"]).stdout
    tell("Engine.connect().client.ping(); print(1)")

    assert guest.run(["cat", "/run/labsupport/engine/pid"]).stdout == pid
    assert "dockerd" in guest.run(["cat", f"/proc/{int(pid)}/cmdline"]).stdout
