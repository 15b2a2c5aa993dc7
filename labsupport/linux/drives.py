"""Real drives to mount: file systems of their own, each with a file that says whose it is.

Where the kernel lets us, a drive is what a USB stick is: an ext4 file system on a block device
(here a loop device, whose disk is a file). An ordinary user may mount no disk, and gets a tmpfs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from labsupport import ownership
from labsupport.closing import Closing
from labsupport.errors import DriveGone, LabError, MissingCapability
from labsupport.linux import loop, mounting
from labsupport.linux.sandbox import Sandbox
from labsupport.linux.zygote_client import may_make_namespaces

SIZE_BYTES = 4 << 20
LABEL = "label.txt"


class Drive(Closing):
    """A file system of its own: `Drive("Drive_A")`, then `.mount(box, "/data")`, in the end `.close()`.

    `kind` is "ext4" or "tmpfs"; if it is not ext4, `why` says why. A new drive holds one file,
    `label.txt`. `device` is the block device, such as /dev/loop0, `number` its major:minor, which
    is also what mountinfo calls the file system (both None for a tmpfs, which has no device).

    An ext4 lives as long as its drive, mounted or not, and the kernel takes it apart with the
    notebook's process; several sandboxes may mount it. A tmpfs is born with each mount and ends
    with it.
    """  # noqa: E501 (the first line shows how to use it)

    def __init__(self, name: str) -> None:
        self.name, self.kind, self.why = name, "tmpfs", ""
        self.device: str | None = None
        self._descriptor: int | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False
        try:
            self._make_disk()
        except LabError as refusal:
            self.why = f"{refusal.what}: {refusal.why}"

    @property
    def number(self) -> str | None:
        """The block device's number, `major:minor`."""
        if self._descriptor is None:
            return None
        device = os.fstat(self._descriptor).st_rdev
        return f"{os.major(device)}:{os.minor(device)}"

    def mount(self, box: Sandbox, point: str) -> None:
        """Mount it in a sandbox; `box.shell()` then shows the commands.

        Raises:
            DriveGone: the drive is closed.
            MountRefused, UnknownFileSystem: the kernel said no.

        """
        if self._closed:
            raise DriveGone(
                f"{self.name} cannot be mounted", "the drive is closed", "make a new Drive"
            )
        if self.device is None:
            mounting.mount(box, ["-t", "tmpfs", self.name, point])
            box.run(["tee", f"{point}/{LABEL}"], input=self._words())
        else:
            mounting.mount(box, ["-t", "ext4", self._node(box), point])

    def close(self) -> None:
        """Give it back; what is still mounted lives until it is unmounted. May be called twice."""
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<{self.name}: closed>"
        if self.device is None:
            return f"<{self.name}: tmpfs, in memory (no disk here: {self.why})>"
        return f"<{self.name}: {self.kind} on {self.device}, number {self.number}>"

    def _words(self) -> str:
        return f"This file is on {self.name}.\n"

    def _make_disk(self) -> None:
        """Make a file, a file system in it, and a block device of it."""
        _require_disks()
        self._folder = tempfile.TemporaryDirectory(prefix=ownership.prefix("drive"))
        content = Path(self._folder.name) / "content"
        content.mkdir()
        (content / LABEL).write_text(self._words())
        image = Path(self._folder.name) / f"{self.name}.img"
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        _make_ext4(image, content, self.name)
        self._descriptor, self.device = loop.attach(str(image))
        self.kind = "ext4"

    def _node(self, box: Sandbox) -> str:
        """The device's name in the sandbox; with a root of its own it has its own /dev."""
        if self.device is None or box.rootfs is None:
            return self.device or ""
        name = f"/dev/{self.name}"
        major, minor = (self.number or "").split(":")
        box.run(["mknod", name, "b", major, minor])
        return name


def _require_disks() -> None:
    if not may_make_namespaces():
        raise MissingCapability("a disk", "only root may mount one", "run it in the Lab VM")
    if shutil.which("mkfs.ext4", path=_path()) is None:
        raise MissingCapability(
            "mkfs.ext4", "the program is not installed", "sudo apt install e2fsprogs"
        )
    if "\text4\n" not in Path("/proc/filesystems").read_text():
        raise MissingCapability("ext4", "this kernel has not loaded it", "as root: modprobe ext4")


def _make_ext4(image: Path, content: Path, name: str) -> None:
    """Make an ext4 without a journal (it is small) that holds what is in the folder `content`."""
    program = shutil.which("mkfs.ext4", path=_path()) or "mkfs.ext4"
    argv = [program, "-q", "-O", "^has_journal", "-m", "0", "-L", name[:16], "-d", str(content)]
    done = subprocess.run([*argv, str(image)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingCapability("a file system", f"mkfs.ext4: {done.stderr.strip()}")


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
