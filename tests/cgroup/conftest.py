"""What tests of control groups share: a check that nothing is left, a loop device."""

import os
import subprocess

import pytest

from labsupport.cgroup import life
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox
from tests import census
from tests.waiting import wait_until

MIB = 1 << 20
MARK = "labsupport-cgroup-" + marks.mark().replace(":", "-")  # those of an engine stay with it


@pytest.fixture
def nothing_is_left():
    """Skip where groups cannot be made; check that a test leaves no group and no program."""
    try:
        life.choose({"memory", "cpu", "pids"})
    except LabError as error:
        pytest.skip(f"needs cgroups with memory, cpu and pids: {error}")
    with Sandbox():  # the helper that all sandboxes share stays; once it answers, its mark is seen
        pass
    before = census.owned_by(marks.mark())
    yield
    assert census.cgroups(MARK) == []
    wait_until(lambda: census.owned_by(marks.mark()) <= before)


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
