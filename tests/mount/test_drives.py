"""Drives are real file systems, and nothing of them is left."""

import os
import tempfile
from pathlib import Path

import pytest

from labsupport import Drive, Sandbox, mounts
from labsupport.errors import LabError, MissingCapability
from labsupport.kernel.mounts import attach_loop
from labsupport.mount import mounting
from labsupport.ownership import marks
from labsupport.sandbox.rootfs import small_root
from tests.waiting import wait_until


@pytest.fixture
def boxes():
    with small_root() as root, Sandbox(rootfs=root) as one, Sandbox(rootfs=root) as two:
        yield one, two


@pytest.fixture
def disk():
    with Drive("Drive_D") as drive:
        if drive.kind != "ext4":
            pytest.skip(f"needs a disk: {drive.why}")
        yield drive


def backing_file(number):
    """What the kernel says is behind a loop device; None if there is nothing."""
    try:
        return Path(f"/sys/dev/block/{number}/loop/backing_file").read_text().strip()
    except FileNotFoundError:
        return None


def folders():
    return list(Path(tempfile.gettempdir()).glob(f"{marks.prefix('drive')}*"))


def test_a_disk_is_a_block_device_that_the_kernel_calls_by_its_number(boxes, disk):
    disk.mount(boxes[0], "/data")
    assert mounts(of=boxes[0]).at("/data").device == disk.number
    assert backing_file(disk.number).endswith("Drive_D.img")
    assert disk.device in repr(disk)


@pytest.mark.parametrize("last", [lambda box: box.run(["umount", "/data"]), Sandbox.close])
def test_nothing_is_left_of_a_closed_disk(boxes, disk, last):
    number = disk.number
    disk.mount(boxes[0], "/data")
    disk.close()
    disk.close()
    assert backing_file(number), "it is still mounted"
    assert folders() == []
    last(boxes[0])
    wait_until(lambda: backing_file(number) is None)


def test_no_device_file_is_made_on_the_host(disk):
    before = set(os.listdir("/dev"))
    with tempfile.TemporaryDirectory() as folder, Sandbox(new={"pid", "mount"}) as box:
        disk.mount(box, folder)
        assert mounts(of=box).at(folder).device == disk.number
    assert set(os.listdir("/dev")) == before


def test_where_no_disk_is_to_be_had_it_is_a_tmpfs_and_says_why(boxes, monkeypatch):
    monkeypatch.setattr(mounting, "may_make_namespaces", lambda: False)
    drive = Drive("Drive_T")
    drive.mount(boxes[0], "/data")
    assert (drive.kind, drive.number, drive.device) == ("tmpfs", None, None)
    assert "only root may mount" in drive.why
    assert drive.why in repr(drive)
    assert boxes[0].run(["cat", "/data/label.txt"]).stdout == "This file is on Drive_T.\n"
    assert mounts(of=boxes[0]).at("/data").fstype == "tmpfs"
    assert folders() == []


def test_a_closed_drive_cannot_be_mounted(boxes):
    drive = Drive("Drive_C")
    drive.close()
    with pytest.raises(LabError, match=r"the drive is closed.*\n.*new Drive"):
        drive.mount(boxes[0], "/data")
    assert "closed" in repr(drive)


def test_a_machine_without_loop_devices_is_told(monkeypatch, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    monkeypatch.setattr("labsupport.kernel.mounts.CONTROL", str(tmp_path / "nothing"))
    with pytest.raises(MissingCapability, match=r"loop device.*nothing.*\n.*modprobe loop"):
        attach_loop(str(image))
