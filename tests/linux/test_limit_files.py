"""The limits of any process as files and as a table; disks and swap space."""

import os
import subprocess
from pathlib import Path

import pytest

from labsupport import Cgroup, Disk, LimitTable, Sandbox, SwapSpace, limit_files_of
from labsupport.errors import LabError, ProcessGone
from tests.linux.groups import nothing_is_left

__all__ = ["nothing_is_left"]


def test_a_process_in_our_group_has_our_limits(nothing_is_left):
    limits = Cgroup(memory="32M", pids=9, cpu=0.25)
    with limits as group, Sandbox(new={"pid"}, cgroup=group) as box:
        found = limit_files_of(box.start(["sleep", "60"]).pid)
        assert found == group.files()
    assert found["pids"][1] == "9"


def test_a_process_that_has_ended_is_told():
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(ProcessGone):
        limit_files_of(ended.pid)


def test_the_table_names_both_versions_and_what_no_limit_is(nothing_is_left):
    with Cgroup(pids=9) as group:
        table = LimitTable(group.files())
    rows = {row[0]: row for row in table.rows()}
    assert rows["memory"][3:] == ("memory.limit_in_bytes", "memory.max")
    assert rows["memory"][1] in rows["memory"][3:]
    assert rows["memory"][2] == "max" or rows["memory"][2].endswith("(no limit)")
    assert rows["pids"][2] == "9"
    assert "<table" in table._repr_html_()
    assert "pids.max: 9" in repr(table)


def test_a_disk_is_a_block_device_and_goes_with_its_owner():
    try:
        disk = Disk("2M")
    except LabError as refusal:
        pytest.skip(f"needs a loop device: {refusal}")
    size = Path("/sys/block", Path(disk.device).name, "size")
    assert int(size.read_text()) * 512 == 2 << 20
    disk.close()
    disk.close()
    assert not size.exists() or int(size.read_text()) == 0


def test_swap_is_left_alone_outside_of_the_lab_vm():
    if os.environ.get("LAB_IN_VM") == "1":
        pytest.skip("this is the Lab VM")
    before = Path("/proc/swaps").read_text()
    with SwapSpace() as space:
        assert not space.made
        assert Path("/proc/swaps").read_text() == before
    assert "not the Lab VM" in repr(space)
