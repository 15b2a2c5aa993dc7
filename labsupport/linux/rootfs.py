"""A small root file system for sandboxes: a folder with one static busybox and its names.

Whoever enters it has a shell and some 270 small programs, and nothing of the host's files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from labsupport import ownership
from labsupport.errors import MissingCapability

FOLDERS = ("bin", "data", "dev", "etc", "mnt", "proc", "root", "srv", "sys", "tmp", "usr", "var")
_FILES = {
    "etc/group": "root:x:0:\n",
    "etc/hostname": "small-root\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
}


class SmallRoot:
    """A root file system in a temporary folder, see `small_root`; usable wherever a path is."""

    def __init__(self, folders: Iterable[str] = ()) -> None:
        program = _static_busybox()
        self._folder = tempfile.TemporaryDirectory(prefix=ownership.prefix("root"))
        self.path = Path(self._folder.name) / "rootfs"
        self.path.mkdir()
        Path(self._folder.name).chmod(0o755)
        _fill(self.path, program, folders)

    def close(self) -> None:
        """Remove the folder; may be called twice."""
        self._folder.cleanup()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<a small root file system in {self.path}>"


def small_root(folders: Iterable[str] = ()) -> SmallRoot:
    """Make a root file system for `Sandbox(rootfs=...)`: `with small_root() as folder:`.

    `folders` are made in it beside the usual ones (`FOLDERS`). Its programs are found with
    `Sandbox.run(["ls"])`, since a sandbox searches the usual PATH.

    Raises:
        MissingCapability: there is no statically linked busybox.

    """
    return SmallRoot(folders)


def _fill(root: Path, program: Path, folders: Iterable[str]) -> None:
    for name in (*FOLDERS, *folders):
        (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
    shutil.copy(program, root / "bin/busybox")
    argv = [str(program), "--list"]
    listing = subprocess.run(argv, capture_output=True, text=True, check=True)
    for name in set(listing.stdout.split()) - {"busybox"}:
        (root / "bin" / name).symlink_to("busybox")
    for other in ("sbin", "usr/bin", "usr/sbin"):  # whatever the PATH names, it is found
        (root / other).symlink_to("/bin")
    for name, text in _FILES.items():
        (root / name).write_text(text)


def _static_busybox() -> Path:
    found = shutil.which("busybox")
    # a program that asks for a loader would find none in there; ELF names it in a PT_INTERP header
    if found is None or b"/ld-" in Path(found).read_bytes()[:4096]:
        raise MissingCapability(
            "a statically linked busybox",
            f"{found} needs libraries" if found else "busybox is not installed",
            "sudo apt install busybox-static",
        )
    return Path(os.path.realpath(found))
