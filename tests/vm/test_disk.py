"""The guest's disk takes the host's space while it is used, and nothing afterwards (about 5 s)."""

import os
from pathlib import Path

import pytest

from labsupport.vm import guest as vm_guest
from labsupport.vm.guest import LabVM
from tests.fixtures_vm import sh
from tests.waiting import wait_until

MIB = 1 << 20
PREPARE = (  # without `noinit_itable` the kernel begins to fill its tables some seconds later
    "mkfs.ext4 -q -F -O ^has_journal -E nodiscard,lazy_itable_init=1 $LAB_DISK && "
    "mount -o discard,noinit_itable $LAB_DISK /mnt"
)


def disk_files(marked):
    """The files as large as its disk that the guest's processes have open: one file, many times."""
    found = []
    for pid in marked.processes():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "(deleted)" in os.readlink(fd) and fd.stat().st_size >= vm_guest.LEAST_BYTES:
                    found.append(fd)
            except FileNotFoundError:
                continue
    return [fd for fd in found if fd.stat().st_size != marked.kilobytes << 10]


def test_it_takes_space_as_it_is_used_and_gives_it_back(vm_kernel, marked):
    with LabVM.boot(marked.memory) as guest:
        files = disk_files(marked)
        assert len({(fd.stat().st_dev, fd.stat().st_ino) for fd in files}) == 1

        def used():
            return files[0].stat().st_blocks * 512

        assert used() == 0
        sh(guest, PREPARE)
        empty = used()
        assert empty < 32 * MIB
        sh(guest, "dd if=/dev/urandom of=/mnt/file bs=1M count=40 2>/dev/null; sync")
        assert used() >= empty + 40 * MIB
        sh(guest, "rm /mnt/file; sync")
        wait_until(lambda: used() < empty + 8 * MIB, why=lambda: f"{used()} bytes are used")


def test_a_real_disk_is_taken_before_memory(monkeypatch):
    if vm_guest.file_system("/var/tmp") == "tmpfs" or vm_guest.file_system("/dev/shm") != "tmpfs":
        pytest.skip("needs /var/tmp on a disk and /dev/shm in memory")
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    file = vm_guest.open_disk()
    assert file is not None
    with open(file, "rb") as opened:
        assert os.fstat(opened.fileno()).st_dev == os.stat("/var/tmp").st_dev
        assert os.fstat(opened.fileno()).st_nlink == 0
