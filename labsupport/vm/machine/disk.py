"""Where the virtual machine's disk is: made once by `./lab vm-disk`, and never written to again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from labsupport.errors import DiskMissing, LabError, QemuMissing

NAME = "debian-bookworm"
SYSTEM_DISKS = Path("/usr/local/lib/labsupport/disks")
IMAGE, KERNEL, INITRD, ABOUT = "disk.qcow2", "kernel", "initrd", "about.json"


@dataclass(frozen=True)
class BaseDisk:
    """A disk image, with the kernel on it and that kernel's first file system beside it."""

    folder: Path
    release: str
    """The kernel's."""
    recipe: str
    app_base: str
    """The image that its container engine has: the base of the tutorials' app."""
    size_bytes: int

    @property
    def image(self) -> Path:
        """The disk, in QEMU's format."""
        return self.folder / IMAGE

    @property
    def kernel(self) -> Path:
        """The kernel, a copy of what lies on the disk."""
        return self.folder / KERNEL

    @property
    def initrd(self) -> Path:
        """Its first file system: drivers for the disk, no more."""
        return self.folder / INITRD


def user_disks() -> Path:
    """Where this user's disks are kept."""
    return Path(platformdirs.user_cache_dir("labsupport")) / "disks"


def find_disk() -> BaseDisk:
    """Return this user's disk, else the machine's. Raises `DiskMissing`."""
    for folder in (user_disks(), SYSTEM_DISKS):
        if found := read_disk(folder / NAME):
            return found
    raise DiskMissing(f"there is no {NAME} in {user_disks()} or {SYSTEM_DISKS}")


def read_disk(folder: Path) -> BaseDisk | None:
    """Return the disk in a folder, or None."""
    try:
        about = json.loads((folder / ABOUT).read_text())
        size_bytes = (folder / IMAGE).stat().st_blocks * 512
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return BaseDisk(folder, about["release"], about["recipe"], about["app_base"], size_bytes)


def make_overlay(base: Path, overlay: Path, size_bytes: int) -> None:
    """Make a disk that begins as the base, and has its own copy of what is written to it."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base)]
    run_tool([*argv, str(overlay), str(size_bytes)])


def run_tool(argv: list[str]) -> None:
    """Run `qemu-img`. Raises `QemuMissing`, or a `LabError` with its words."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise QemuMissing(
            "QEMU is not complete", f"no program `{argv[0]}`", "sudo apt-get install qemu-utils"
        ) from error
    if done.returncode:
        raise LabError(f"{argv[0]} {argv[1]} failed", done.stderr.strip())
