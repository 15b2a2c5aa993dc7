"""What tests of control groups share: a check that nothing is left, a loop device, patience."""

import os
import subprocess
import time

import pytest

from labsupport import ownership
from labsupport.errors import LabError
from labsupport.linux.cgroup import places
from tests import census

MIB = 1 << 20
MARK = ownership.mark().replace(":", "-")


@pytest.fixture
def nothing_is_left():
    """Skip where no groups can be made; see to it that a test leaves no group and no program."""
    try:
        places.choose({"memory", "cpu", "pids"})
    except LabError as error:
        pytest.skip(f"needs cgroups with memory, cpu and pids: {error}")
    before = census.owned_by(ownership.mark())
    yield
    assert census.cgroups(MARK) == []
    wait_until(lambda: census.owned_by(ownership.mark()) <= before)


@pytest.fixture
def loop(tmp_path):
    """A loop device of 16 MiB."""
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 16 * MIB)
    argv = ["losetup", "--find", "--show", image]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs a loop device: {done.stderr.strip()}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


def wait_until(true, seconds=5):
    """Wait until something is so; fail if it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
