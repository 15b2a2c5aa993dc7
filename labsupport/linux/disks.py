"""An empty disk to write to, and swap space on such a disk; loop(4), swapon(8)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from labsupport import ownership
from labsupport.errors import MissingCapability
from labsupport.linux import loop
from labsupport.linux.cgroup.amounts import Amount, bytes_of


class Disk:
    """A block device of zeroes: `with Disk("16M") as disk: disk.device` is such as /dev/loop0.

    It lives in a file of this notebook; the kernel takes it apart when it is closed, or when the
    notebook's process ends, however that comes.

    Raises:
        MissingCapability: this machine lends us no loop device.

    """

    def __init__(self, size: Amount = "16M") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=ownership.prefix("disk"))
        self._descriptor: int | None = None
        image = Path(self._folder.name) / "disk.img"
        with image.open("wb") as file:
            file.truncate(bytes_of(size, "size"))
        try:
            self._descriptor, self.device = loop.attach(str(image))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the device and its file back; may be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<disk {self.device}>"


class SwapSpace:
    """Swap space for a `with` block, on a disk of our own; `made` tells whether there is any.

    Swap is the whole machine's, so it is switched on in the Lab VM only, which is the student's;
    elsewhere nothing is changed, and this says so.

    Raises:
        MissingCapability: the Lab VM's kernel took no such swap space.

    """

    def __init__(self, size: Amount = "96M") -> None:
        self._size = size
        self._disk: Disk | None = None

    @property
    def made(self) -> bool:
        """Whether swap space was switched on."""
        return self._disk is not None

    def __enter__(self) -> Self:
        if os.environ.get("LAB_IN_VM") != "1":
            return self
        self._disk = Disk(self._size)
        try:
            _run("mkswap", "--quiet", self._disk.device)
            _run("swapon", self._disk.device)
        except BaseException:
            self._disk.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._disk is not None:
            _run("swapoff", self._disk.device)
            self._disk.close()

    def __repr__(self) -> str:
        if self.made:
            return f"<{self._size} of swap space, for a moment>"
        return "<no swap space made: it would be the whole machine's, and this is not the Lab VM>"


def _run(program: str, *arguments: str) -> None:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        raise MissingCapability(program, "the program is not installed", "sudo apt install mount")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingCapability("swap space", f"{program}: {done.stderr.strip()}")
