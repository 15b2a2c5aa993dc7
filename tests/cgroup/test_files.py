"""The limits of any process as files and as a table; disks and swap space."""

import os
from pathlib import Path

import pytest

from labsupport import Disk
from labsupport.cgroup import files
from labsupport.cgroup.dangers import SwapSpace


def test_a_disk_is_a_block_device_and_goes_with_its_owner(loop):
    with Disk("2M") as disk:
        size = Path("/sys/block", Path(disk.device).name, "size")
        assert int(size.read_text()) * 512 == 2 << 20
        disk.close()
    assert not size.exists() or int(size.read_text()) == 0


def test_swap_is_left_alone_outside_of_the_lab_vm():
    if os.environ.get("LAB_IN_VM") == "1":
        pytest.skip("this is the Lab VM")
    before = Path("/proc/swaps").read_text()
    with SwapSpace() as space:
        assert not space.made
        assert Path("/proc/swaps").read_text() == before


def test_what_a_kernel_does_not_count_is_none(tmp_path, monkeypatch):
    """Nor the kills before Linux 4.13, periods without CFS_BANDWIDTH, /proc/swaps without swap."""
    monkeypatch.setattr(files, "SWAPS", tmp_path / "swaps")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1\nuser_usec 1\nsystem_usec 0\n")
    assert files.GroupFiles({"memory": files.Folder(tmp_path, 1)}).usage().oom_kills is None
    assert files.GroupFiles({"cpu": files.Folder(tmp_path, 2)}).usage().periods is None
    assert not files.has_swap()
