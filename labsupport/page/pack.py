"""A folder as v86's 9p file system takes it: a list of names, and a file for each content.

The page fetches a file when the guest first touches it, by the digest of what it holds.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import zstandard

VERSION = 3  # of the list, as v86's lib/filesystem.js reads it
Entry = list[object]


def pack(root: Path, output: Path, left_out: tuple[str, ...], step: Callable[[], None]) -> int:
    """Write `fs.json` and `files/` for all below `root`; return the packed files' bytes.

    `left_out` are patterns of paths, from the root on. Owners are written as root: what has been
    unpacked by an ordinary user has lost them.
    """
    files = output / "files"
    files.mkdir(parents=True, exist_ok=True)
    packer = _Packer(root, files, left_out, step)
    tree = packer.folder(root)
    listing = {"fsroot": tree, "version": VERSION, "size": packer.raw_bytes}
    (output / "fs.json").write_text(json.dumps(listing, separators=(",", ":")))
    for file in files.iterdir():
        if file.name not in packer.names:
            file.unlink()
    return sum(file.stat().st_size for file in files.iterdir())


class _Packer:
    def __init__(
        self, root: Path, files: Path, left_out: tuple[str, ...], step: Callable[[], None]
    ) -> None:
        self.root, self.files, self.left_out, self.step = root, files, left_out, step
        self.names: set[str] = set()
        self.raw_bytes = 0

    def folder(self, folder: Path) -> list[Entry]:
        """Return the entries of a folder."""
        return [self._entry(Path(each.path)) for each in os.scandir(folder) if self._stays(each)]

    def _stays(self, each: os.DirEntry[str]) -> bool:
        path = "/" + os.path.relpath(each.path, self.root)
        kind = each.stat(follow_symlinks=False).st_mode
        known = stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)
        return known and not any(fnmatch.fnmatch(path, pattern) for pattern in self.left_out)

    def _entry(self, path: Path) -> Entry:
        found = path.lstat()
        head = [path.name, found.st_size, int(found.st_mtime), found.st_mode, 0, 0]
        if stat.S_ISDIR(found.st_mode):
            return [*head, self.folder(path)]
        if stat.S_ISLNK(found.st_mode):
            return [*head, os.readlink(path)]
        return [*head, self._content(path)]

    def _content(self, path: Path) -> str:
        data = path.read_bytes()
        name = f"{hashlib.sha256(data).hexdigest()[:16]}.bin.zst"
        if name not in self.names and not (self.files / name).exists():
            (self.files / name).write_bytes(zstandard.compress(data, 10))
        self.names.add(name)
        self.raw_bytes += len(data)
        self.step()
        return name
