"""What a virtual machine needs of this one: QEMU, its tools, SSH, and the disk."""

from __future__ import annotations

import os
import shutil

from labsupport.errors import LabError, NotAGuestKernel, QemuMissing
from labsupport.vm.machine.accelerator import PROGRAM
from labsupport.vm.machine.disk import find_disk

_PACKAGES = {
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
        raise NotAGuestKernel(
            "the course's virtual machine is an x86-64", f"this is {os.uname().machine}"
        )
    if missing := [name for name in _PACKAGES if not shutil.which(name)]:
        packages = " ".join(dict.fromkeys(_PACKAGES[name] for name in missing))
        raise QemuMissing(
            "QEMU is not complete here",
            f"not installed: {', '.join(missing)}",
            f"sudo apt-get install {packages}; then: ./lab vm-disk",
        )
    return f"QEMU, and a disk with Linux {find_disk().release}"
