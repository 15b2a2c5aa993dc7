"""What is found in an image, as plain data: entries of layers, layers, steps, lost files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link of one layer.

    `path` is absolute, as in a container; `kind` is "file", "folder", "symlink", "hardlink",
    "fifo", "character device" or "block device". Only a file has a size; a hard link is a second
    name for one of its layer's, its `target`. A symbolic link's `target` is as the layer has it.
    `modified_at` is in seconds since 1970; `layer` is the number of the layer it is in.
    """

    path: str
    kind: str
    size_bytes: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""
    modified_at: float = 0.0
    layer: int = 0
    offset: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: what it is called, how big it is, and what it does to the ones below.

    `number` counts from 1, the lowest. `digest` is that of the layer as it is stored in the archive
    (perhaps compressed, `blob_bytes` long), `diff_id` that of the tar archive in it. `size_bytes`
    is the sum of its regular files. `created_by` is its line of the history, "" if that is not
    known. `files` are its entries by path, whiteouts left out. `added` and `changed` are the paths
    that it brings (a folder is changed by another mode or owner), `deleted` those of the layers
    below that it takes away, all that is in a deleted folder included. `verified` tells that its
    content has the digests that the image says; an image that lies is not opened.
    """

    number: int
    digest: str
    diff_id: str
    size_bytes: int
    blob_bytes: int
    created_by: str
    files: Mapping[str, Entry] = field(repr=False)
    added: tuple[str, ...] = field(repr=False)
    changed: tuple[str, ...] = field(repr=False)
    deleted: tuple[str, ...] = field(repr=False)
    verified: bool

    def __repr__(self) -> str:
        did = f"{len(self.added)} added, {len(self.changed)} changed, {len(self.deleted)} deleted"
        return f"<Layer {self.number}: {self.size_bytes / 1e6:.1f} MB, {did}>"


@dataclass(frozen=True, eq=False)
class Step:
    """One line of an image's history, and the layer that it made; one that is `empty` made none.

    `created` is None where the image does not say it. If the history does not fit the layers, no
    line has a layer.
    """

    created: datetime | None
    created_by: str
    comment: str
    empty: bool
    layer: Layer | None


@dataclass(frozen=True, eq=False)
class LostFile:
    """A file that a later layer deleted, and that an earlier one still gives away.

    `added_in` is the layer that still has it.
    """

    path: str
    size_bytes: int
    added_in: Layer
    removed_in: Layer
    _read: Callable[[], bytes] = field(repr=False)

    def read(self) -> bytes:
        """Return its content, out of the earlier layer."""
        return self._read()
