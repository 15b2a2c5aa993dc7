"""What a virtual machine needs of this one: QEMU, its tools, SSH, and the disk.

The disk is made once by `./lab vm-disk`, and never written to afterwards.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from labsupport.errors import LabError

NAME = "debian-trixie"
SYSTEM_DISKS = Path("/usr/local/lib/labsupport/disks")
IMAGE, KERNEL, INITRD, ABOUT = "disk.qcow2", "kernel", "initrd", "about.json"


@dataclass(frozen=True)
class BaseDisk:
    """A disk in QEMU's format (`image`), in a folder with copies of its kernel and initrd.

    `release` is the kernel's version; the initrd has drivers for the disk, no more.
    """

    folder: Path
    release: str
    recipe: str
    size_bytes: int

    @property
    def image(self) -> Path:
        return self.folder / IMAGE


def user_disks() -> Path:
    """Where this user's disks are kept."""
    return Path(platformdirs.user_cache_dir("labsupport")) / "disks"


def find_disk() -> BaseDisk:
    """Return this user's disk, else the machine's. Raises `LabError`."""
    for folder in (user_disks(), SYSTEM_DISKS):
        if found := read_disk(folder / NAME):
            return found
    why = f"there is no {NAME} in {user_disks()} or {SYSTEM_DISKS}"
    remedy = "./lab vm-disk (once: one to three minutes, 0.2 GB)"
    raise LabError("there is no disk for a virtual machine", why, remedy)


def read_disk(folder: Path) -> BaseDisk | None:
    """Return the disk in a folder, or None."""
    try:
        about = json.loads((folder / ABOUT).read_text())
        size_bytes = (folder / IMAGE).stat().st_blocks * 512
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return BaseDisk(folder, about["release"], about["recipe"], size_bytes)


def make_overlay(base: Path, overlay: Path, size_bytes: int) -> None:
    """Make a disk that begins as the base, and has its own copy of what is written to it."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base)]
    run_tool([*argv, str(overlay), str(size_bytes)])


def run_tool(argv: list[str]) -> None:
    """Run one of the `PACKAGES`' programs. Raises a `LabError`, with its words."""
    try:
        done = subprocess.run(argv, input="", capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        remedy = f"sudo apt-get install {PACKAGES[argv[0]]}"
        raise LabError("QEMU is not complete", f"no program `{argv[0]}`", remedy) from error
    if done.returncode:
        raise LabError(f"{argv[0]} {argv[1]} failed", done.stderr.strip())


PROGRAM = "qemu-system-x86_64"
PACKAGES = {
    PROGRAM: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


def check() -> str:
    """Say in a few words what is there. Raises a `LabError` that names what is not."""
    if os.environ.get("LAB_IN_VM") == "1":
        raise LabError("this is the Lab VM already, and there is no VM in the VM")
    if os.uname().machine != "x86_64":
        raise LabError("the course's virtual machine is an x86-64", f"this is {os.uname().machine}")
    if missing := [name for name in PACKAGES if not shutil.which(name)]:
        packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing))
        remedy = f"sudo apt-get install {packages}; then: ./lab vm-disk"
        raise LabError("QEMU is not complete here", f"not installed: {', '.join(missing)}", remedy)
    return f"QEMU, and a disk with Linux {find_disk().release}"
