"""A small root file system for sandboxes: a folder with one static busybox and its names.

A program in it sees a shell and some 270 small programs, and none of the host's files.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from labsupport.errors import MissingCapability
from labsupport.ownership import marks

FOLDERS = ("bin", "data", "dev", "etc", "mnt", "proc", "root", "srv", "sys", "tmp", "usr", "var")
_FILES = {
    "etc/group": "root:x:0:\n",
    "etc/hostname": "small-root\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
}


class _Folder:
    """A folder in a temporary one that carries our mark, until `close()` or the end of a block.

    So it is ours to remove, whatever others put there, and is found when we have been killed.
    """

    def __init__(self, kind: str, name: str, mode: int) -> None:
        self._ours = tempfile.TemporaryDirectory(prefix=marks.prefix(kind))
        self.path = Path(self._ours.name) / name
        self.path.mkdir()
        Path(self._ours.name).chmod(mode)

    def close(self) -> None:
        """Remove it with all that is in it; may be called twice."""
        self._ours.cleanup()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def __fspath__(self) -> str:
        return str(self.path)


class FolderOf(_Folder):
    """A folder that belongs to user `uid`: `with FolderOf(65534) as folder:`."""

    def __init__(self, uid: int) -> None:
        super().__init__("folder", "files", 0o711)
        os.chown(self.path, uid, -1)

    def __repr__(self) -> str:
        return f"<folder {self.path} of user {self.path.stat().st_uid}>"


class SmallRoot(_Folder):
    """A root file system for `Sandbox(rootfs=...)`: `with small_root() as folder:`.

    `folders` are made in it in addition to the usual ones (`FOLDERS`). Its programs are found with
    `Sandbox.run(["ls"])`, since a sandbox searches the usual PATH.
    Raises `MissingCapability`: there is no statically linked busybox.
    """

    def __init__(self, folders: Iterable[str] = ()) -> None:
        program = static_busybox()
        super().__init__("root", "rootfs", 0o755)
        for name in (*FOLDERS, *folders):
            (self.path / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(program, self.path / "bin/busybox")
        argv = [str(program), "--list"]
        listing = subprocess.run(argv, capture_output=True, text=True, check=True)
        for name in set(listing.stdout.split()) - {"busybox"}:
            (self.path / "bin" / name).symlink_to("busybox")
        for other in ("sbin", "usr/bin", "usr/sbin"):  # whatever the PATH names, it is found
            (self.path / other).symlink_to("/bin")
        for name, text in _FILES.items():
            (self.path / name).write_text(text)

    def __repr__(self) -> str:
        return f"<a small root file system in {self.path}>"


small_root = SmallRoot


def static_busybox() -> Path:
    """Find a busybox that needs nothing else. Raises `MissingCapability`."""
    found = shutil.which("busybox")
    begin = Path(found).read_bytes()[:4096] if found else b""
    # a program that asks for a loader would find none in there; elf(5) names it in PT_INTERP
    if found is None or not begin.startswith(b"\x7fELF") or b"/ld-" in begin:
        why = f"{found} needs shared libraries" if found else "no program `busybox` was found"
        remedy = "sudo apt-get install busybox-static"
        raise MissingCapability("a statically linked busybox", why, remedy)
    return Path(os.path.realpath(found))
