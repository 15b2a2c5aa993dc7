"""The engine inside the Lab VM, where the guest's notebooks use it (about 8 s, one guest)."""

import sys

import pytest

from labsupport.vm.guest import LabVM
from tests.engines import find_dockerd

DATA = "/run/labsupport/engine/data"
PROGRAM = """
from pathlib import Path
from labsupport.build.bases import base_image
from labsupport.engine.client import Engine
engine = Engine.connect()
base_image(engine)
pid = Path("/run/labsupport/engine/pid").read_text()
print(engine.storage_driver, engine.kernel_release, pid)
"""


def told_in(guest, **environment):
    done = guest.run([sys.executable, "-c", PROGRAM], env=environment, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module", autouse=True)
def dockerd(vm_kernel):
    if not find_dockerd():
        pytest.skip("needs dockerd (apt-get install docker.io)")


def test_its_layers_are_on_the_guests_disk_and_it_outlives_who_started_it():
    with LabVM.boot(memory="768M") as guest:
        first, second = told_in(guest), told_in(guest)
        lies = guest.run(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", DATA])
        assert first == second == ["overlay2", guest.release, first[-1]]
    assert lies.stdout.split() == ["ext4", "/dev/ubda"]


@pytest.mark.thorough("vm")
def test_without_a_disk_they_are_in_memory():
    with LabVM.boot(memory="512M") as guest:
        told_in(guest, LAB_DISK="")
        assert guest.run(["findmnt", "-n", "-o", "FSTYPE", "-T", DATA]).stdout == "tmpfs\n"
