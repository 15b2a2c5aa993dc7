"""Layers of files that lie over each other, as folders: what each holds, and what is to be seen.

A layer says of a name: here it is; or, with a *whiteout* (a character device 0:0), it is deleted;
or, with an *opaque* folder (an extended attribute), nothing below counts in here. See "whiteouts
and opaque directories" in the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
"""Who marks a folder opaque: root, and whoever is root in a user namespace only."""


@dataclass(frozen=True)
class Entry:
    """What a layer holds under a name.

    `kind` is "file", "folder", "opaque" (a folder), "whiteout", "link" or "other"; `size_bytes` is
    that of a file. `digest` tells contents apart: it is of a file's bytes or of a link's target.
    """

    path: str
    kind: str
    size_bytes: int = 0
    digest: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether names can lie below it."""
        return self.kind in ("folder", "opaque")


@dataclass(frozen=True)
class LayerFolder:
    """A layer's folder as it was read: {path relative to it: entry}; one of a stack is writable."""

    name: str
    entries: Mapping[str, Entry]
    writable: bool = False

    @property
    def size_bytes(self) -> int:
        """All its files together."""
        return sum(entry.size_bytes for entry in self.entries.values())

    @property
    def whiteouts(self) -> list[str]:
        """The names that it declares deleted."""
        return sorted(path for path, each in self.entries.items() if each.kind == "whiteout")

    def __repr__(self) -> str:
        mode = "writable" if self.writable else "read-only"
        return f"<layer {self.name}, {mode}: {len(self.entries)} names, {self.size_bytes} bytes>"


@dataclass(frozen=True)
class Stack:
    """Layers, the uppermost first, and the one tree that is to be seen of them: `merged`."""

    layers: tuple[LayerFolder, ...]
    merged: LayerFolder

    def layer(self, name: str) -> LayerFolder:
        """Return the layer of that name; `KeyError` if there is none."""
        return {layer.name: layer for layer in self.layers}[name]

    def lies_in(self, path: str) -> str | None:
        """Name the layer that a visible file lies in, by what is in it; None if none is visible.

        Raises:
            LookupError: it can be seen, and no layer holds a file like it.

        """
        seen = self.merged.entries.get(path)
        if seen is None:
            return None
        for layer in self.layers:
            entry = layer.entries.get(path)
            if entry and entry.is_folder == seen.is_folder and entry.digest == seen.digest:
                return layer.name
        raise LookupError(f"{path} is to be seen, but lies in no layer")

    def paths(self) -> list[str]:
        """Return every name but those of plain folders, from all layers, in order."""
        found = {
            path
            for layer in self.layers
            for path, entry in layer.entries.items()
            if entry.kind != "folder"
        }
        return sorted(found)

    def __iter__(self) -> Iterator[LayerFolder]:
        return iter(self.layers)

    def __repr__(self) -> str:
        where = [f"  {path}: {self.lies_in(path) or 'hidden'}" for path in self.paths()]
        return "\n".join(["where each name really lies", *where])


def read_layer(
    name: str, folder: Path, *, writable: bool = False, only: Sequence[str] | None = None
) -> LayerFolder:
    """Read a layer's folder; with `only`, just these names of it (and not what is below them)."""
    paths = _below(folder) if only is None else (folder / path for path in only)
    entries = {}
    for path in paths:
        try:
            entry = read_entry(path, str(path.relative_to(folder)))
        except (FileNotFoundError, NotADirectoryError):  # `only` names what other layers have
            continue
        entries[entry.path] = entry
    return LayerFolder(name, entries, writable)


def read_entry(path: Path, name: str) -> Entry:
    """Look at one name of a layer, without following links."""
    found = path.lstat()
    if stat.S_ISREG(found.st_mode):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Entry(name, "file", found.st_size, digest)
    if stat.S_ISLNK(found.st_mode):
        return Entry(name, "link", 0, os.readlink(path))
    if stat.S_ISDIR(found.st_mode):
        return Entry(name, "opaque" if is_opaque(path) else "folder")
    return Entry(name, "whiteout" if is_whiteout(found) else "other")


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this is the mark of a deleted name: a character device 0:0."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(folder: Path) -> bool:
    """Whether a folder hides all that lies below it in lower layers."""
    marks = set(os.listxattr(folder, follow_symlinks=False)) & set(OPAQUE)
    return any(os.getxattr(folder, mark) == b"y" for mark in marks)


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)
