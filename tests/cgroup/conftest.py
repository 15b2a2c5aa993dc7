"""What tests of control groups share: a check that nothing is left, a loop device."""

import pytest

from labsupport import Disk
from labsupport.cgroup import life
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox
from tests import census
from tests.waiting import wait_until

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
def loop():
    """A loop device of 16 MiB."""
    try:
        disk = Disk("16M")
    except LabError as refusal:
        pytest.skip(f"needs a loop device: {refusal}")
    with disk:
        yield disk.device
