"""An empty disk to write to, and swap space; loop(4), swapon(8), admin-guide/blockdev/zram."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from labsupport import ownership
from labsupport.closing import Closing
from labsupport.errors import MissingCapability
from labsupport.linux import loop
from labsupport.linux.cgroup.amounts import Amount, bytes_of

ZRAM, ZRAM_DEVICE = Path("/sys/block/zram0"), "/dev/zram0"


class Disk(Closing):
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

    def __repr__(self) -> str:
        return f"<disk {self.device}>"


class SwapSpace:
    """Swap space for a `with` block; `made` tells whether there is any.

    Swap is the whole machine's, so it is switched on in the Lab VM only, which is the student's;
    elsewhere nothing is changed, and this says so. It lies in memory, packed (zram): a loop device
    is too slow for a hog, which would then be killed although there is swap left.

    Raises:
        MissingCapability: the Lab VM's kernel took no such swap space.

    """

    def __init__(self, size: Amount = "96M") -> None:
        self._bytes = bytes_of(size, "size")
        self.made = False

    def __enter__(self) -> Self:
        if os.environ.get("LAB_IN_VM") != "1":
            return self
        if not ZRAM.exists():  # Debian's User-Mode Linux has it as a module
            _run("modprobe", "zram")
        (ZRAM / "disksize").write_text(str(self._bytes))
        self.made = True
        try:
            _run("mkswap", "--quiet", ZRAM_DEVICE)
            _run("swapon", ZRAM_DEVICE)
        except BaseException:
            (ZRAM / "reset").write_text("1")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.made:
            _run("swapoff", ZRAM_DEVICE)
            (ZRAM / "reset").write_text("1")

    def __repr__(self) -> str:
        if self.made:
            return f"<{self._bytes >> 20} MiB of swap space, for a moment>"
        return "<no swap space made: it would be the whole machine's, and this is not the Lab VM>"


def _run(program: str, *arguments: str) -> None:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        raise MissingCapability(
            program, "the program is not installed", "sudo apt install util-linux"
        )
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingCapability("swap space", f"{program}: {done.stderr.strip()}")
