"""What the layers of an image hold, and what they make together, stacked as overlayfs does."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property

from labsupport.errors import BadLayer, LabError
from labsupport.image import blobs
from labsupport.image.blobs import Blob, Feed, Hashing, Meter


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link of one layer.

    `path` is absolute, as in a container; `kind` is "file", "folder", "symlink", "hardlink",
    "fifo", "character device" or "block device". Only a file has a size; a hard link is a second
    name for another, its `target`. A symbolic link's `target` is as the layer has it.
    `layer` is the number of the layer it is in.
    """

    path: str
    kind: str
    size_bytes: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""
    layer: int = 0
    offset: int = field(default=0, repr=False, compare=False)
    pieces: tuple[tuple[int, int], ...] = field(default=(), repr=False, compare=False)
    """Where the stored bytes of a sparse file belong, and how many; zeros are between them."""
    named: Entry | None = field(default=None, repr=False, compare=False)
    """The file that a hard link is another name for; None if it leads to nothing."""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, under its first name or another."""
        return self.kind in ("file", "hardlink")

    def another_name(self, target: Entry | None) -> Entry:
        """Return what this hard link is, given what is at its target; link(2)."""
        if target is None or target.kind == "folder":
            return self
        if target.is_file:
            return replace(self, named=target.named or target)
        return replace(target, path=self.path, layer=self.layer)  # of a symbolic link, a device


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: what it is called, how big it is, and what it does to the ones below.

    `number` counts from 1, the lowest. `digest` is that of the layer as it is stored in the archive
    (perhaps compressed, `blob_bytes` long), `diff_id` that of the tar archive in it; its content
    has both, for an image that lies is not opened. `created_by` is its line of the history, "" if
    that is not known. `files` are its entries by path, whiteouts left out. `added` and `changed`
    are the paths that it brings (a folder is changed by another mode or owner). `gone` are the
    entries of layers below that nobody sees any more: what it deletes, and what it replaces.
    """

    number: int
    digest: str
    diff_id: str
    blob_bytes: int
    created_by: str
    files: Mapping[str, Entry] = field(repr=False)
    added: tuple[str, ...] = field(repr=False)
    changed: tuple[str, ...] = field(repr=False)
    gone: Mapping[str, Entry] = field(repr=False)

    @cached_property
    def size_bytes(self) -> int:
        """The sum of its regular files."""
        return sum(entry.size_bytes for entry in self.files.values())

    @cached_property
    def deleted(self) -> tuple[str, ...]:
        """The paths that it takes away, all that is in a deleted folder included."""
        return tuple(sorted(self.gone.keys() - self.files.keys()))

    def __repr__(self) -> str:
        did = f"{len(self.added)} added, {len(self.changed)} changed, {len(self.deleted)} deleted"
        return f"<Layer {self.number}: {self.size_bytes / 1e6:.1f} MB, {did}>"


@dataclass(frozen=True, eq=False)
class Step:
    """One line of an image's history, and the layer that it made; one that is `empty` made none.

    If the history does not fit the layers, no line has a layer.
    """

    created_by: str
    empty: bool
    layer: Layer | None


@dataclass(frozen=True, eq=False)
class LostFile:
    """A file that a later layer deleted, and that an earlier one still gives away.

    `added_in` is the layer that still has it; `read()` returns its content, out of that layer.
    """

    path: str
    size_bytes: int
    added_in: Layer
    removed_in: Layer
    read: Callable[[], bytes] = field(repr=False)


# ---- what a layer's tar archive holds; see layer.md of the OCI image specification

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
_AUFS = ".wh..wh."  # what aufs notes for itself; engines leave it out
_MOST_LINKS = 40  # as many as Linux follows; path_resolution(7)
_KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
}
_IMPLIED = -1  # offset of a folder that no layer names


class Files:
    """Entries by path, with what is below each path at hand."""

    def __init__(self, meter: Meter) -> None:
        self.entries: dict[str, Entry] = {}
        self._inside: dict[str, set[str]] = {}
        self._meter = meter

    def is_folder(self, path: str) -> bool:
        return path in self.entries and self.entries[path].kind == "folder"

    def put(self, entry: Entry) -> None:
        """Put an entry in the place of what has its name; what is below stays."""
        path = entry.path
        self.entries[path] = entry
        while path != "/":
            folder = path.rpartition("/")[0] or "/"
            inside = self._inside.setdefault(folder, set())
            if path in inside:
                return
            inside.add(path)
            if path not in self.entries:
                self._meter.entry(path)
            path = folder

    def take(self, path: str) -> dict[str, Entry]:
        """Take a path away, and all below; return what was there."""
        taken = self.empty(path)
        if path in self.entries:
            taken[path] = self.entries.pop(path)
            self._inside[path.rpartition("/")[0] or "/"].discard(path)
        return taken

    def empty(self, folder: str) -> dict[str, Entry]:
        """Take away all below a path; without recursion, for folders may be very deep."""
        taken = {}
        waiting = list(self._inside.pop(folder, ()))
        while waiting:
            path = waiting.pop()
            if path in self.entries:
                taken[path] = self.entries.pop(path)
            waiting.extend(self._inside.pop(path, ()))
        return taken


class Contents(Files):
    """What a layer holds: its entries, the paths it deletes, the folders whose lower part it hides.

    `digest` is that of the layer as it is stored. Members are taken as the engines take them: one
    after the other, the later in the place of the earlier.
    """

    digest = ""

    def __init__(self, number: int, meter: Meter) -> None:
        super().__init__(meter)
        self.whiteouts: list[str] = []
        self.opaque: list[str] = []
        self._number = number

    def add(self, member: tarfile.TarInfo) -> None:
        """Take the next member of the layer's archive; raises `BadLayer`, `LabError`."""
        pieces: list[tuple[int, int]] = getattr(member, "sparse", None) or []
        self._meter.entry(member.name, member.linkname, pieces=len(pieces))
        path = self._place(blobs.plain_path(member.name))
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            self.opaque.append(folder or "/")
        elif name.startswith(WHITEOUT) and not name.startswith(_AUFS):
            deleted = name.removeprefix(WHITEOUT)
            if deleted in ("", ".", ".."):
                raise BadLayer(f"{name} deletes no name that can be", "it would lead out")
            self.whiteouts.append(f"{folder}/{deleted}")
        elif not name.startswith(WHITEOUT):
            while folder and folder not in self.entries:
                folder = folder.rpartition("/")[0]
            if folder and not self.is_folder(folder):  # the layer itself says so
                raise BadLayer(f"{folder!r} is not a folder", "yet there are files in it")
            entry = self._entry(member, path, tuple(pieces))
            if entry.kind != "folder":
                self.empty(path)
            self.put(entry)

    def _place(self, path: str) -> str:
        """Return where an engine writes a file: through the links that its layer has by then."""
        folder, _, name = path.rpartition("/")
        if not folder or self.is_folder(folder):
            return path
        return f"{follow(folder, self.entries)}/{name}"

    def _entry(
        self, member: tarfile.TarInfo, path: str, pieces: tuple[tuple[int, int], ...]
    ) -> Entry:
        kind = _KINDS.get(member.type, "file")
        size = member.size if kind == "file" else 0
        if path == "/" and kind != "folder":
            raise BadLayer("the root is not a folder", f"it is a {kind}")
        target = member.linkname if kind == "symlink" else ""
        if kind == "hardlink":
            target = self._place(blobs.link_target(path, member.linkname))
        if len(target) > blobs.LONGEST_PATH:
            why = f"Linux has at most {blobs.LONGEST_PATH}"
            raise BadLayer(f"a link to {len(target)} characters", why)
        blobs.bounded(size, self._meter.limits.unpacked_bytes, f"the bytes of {path[:200]!r}")
        if any(at + stored > size for at, stored in pieces):
            raise BadLayer(f"the sparse file {path[:200]!r}", "has more than its size")
        entry = Entry(
            path, kind, size,
            member.mode & 0o7777,  # Docker adds the file's kind to it
            member.uid, member.gid, target, self._number, member.offset_data, pieces,
        )  # fmt: skip
        return entry.another_name(self.entries.get(target)) if kind == "hardlink" else entry


def read_layer(blob: Blob, digest: str, diff_id: str, number: int, meter: Meter) -> Contents:
    """Read a layer to its end; `digest` is the one it is stored under, if it is.

    Raises `BadLayer` for one that the engines would not take, `LabError` for one that is too much.
    """
    contents = Contents(number, meter)
    plain = Hashing()
    stored = Hashing() if blob.is_compressed else plain
    chunks = blob.chunks() if stored is plain else stored.flow(blob.chunks())
    feed = Feed(plain.flow(meter.flow(blobs.decompressed(chunks), blob.size_bytes)))
    try:
        for member in blobs.walk(feed, meter.limits.header_bytes):
            contents.add(member)
        feed.drain()
        contents.digest = stored.digest
        blobs.compare("its content", diff_id, plain.digest)
        blobs.compare("what is stored of it", digest, contents.digest)
    except LabError as error:
        error.what = f"layer {number}: {error.what}"
        raise
    return contents


# ---- layers on top of each other: what each adds, changes and deletes, and what stays


@dataclass
class Change:
    """What a layer did: paths it brought, paths it changed, lower entries nobody sees any more."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: dict[str, Entry] = field(default_factory=dict)

    def note(self, old: Entry | None, new: Entry) -> None:
        """Note what an entry is to what was in its place: a folder's time alone is not a change."""
        self.gone.pop(new.path, None)
        if old is None or old.offset == _IMPLIED:
            self.added.append(new.path)
        elif not old.kind == new.kind == "folder":
            self.changed.append(new.path)
            self.gone[new.path] = old
        elif (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid):
            self.changed.append(new.path)


class Tree(Files):
    """What the layers so far make together.

    Folders that no layer names, but that have something in them, are there too.
    """

    def stack(self, layer: Contents, number: int) -> Change:
        """Put a layer on top, and say what it did."""
        change = Change()
        for path in layer.whiteouts:
            change.gone |= self.take(path)
        for folder in layer.opaque:
            change.gone |= self.empty(folder)
        for path, entry in layer.entries.items():
            if entry.kind != "folder":
                change.gone |= self.empty(path)
        for path in (*layer.whiteouts, *(f"{each}/." for each in layer.opaque if each != "/")):
            self._make_folders(path, layer, number, change.gone)
        for path, entry in layer.entries.items():
            self._make_folders(path, layer, number, change.gone)
            put, gone = entry, change.gone
            if put.kind == "hardlink" and put.named is None:  # to a file of a lower layer, perhaps
                put = put.another_name(gone.get(put.target) or self.entries.get(put.target))
                layer.entries[path] = put
            change.note(gone.get(path) or self.entries.get(path), put)
            self.put(put)
        for path in [path for path, old in change.gone.items() if old.offset == _IMPLIED]:
            del change.gone[path]
        return change

    def _make_folders(
        self, path: str, layer: Contents, number: int, gone: dict[str, Entry]
    ) -> None:
        """Make the folders that a path is in, in place of whatever else is there."""
        missing = []
        while (path := path.rpartition("/")[0]) and not self.is_folder(path):
            missing.append(path)
        for folder in reversed(missing):
            if folder not in layer.entries:  # else its turn comes
                gone |= self.take(folder)
                if folder in gone and gone[folder].kind == "folder":
                    del gone[folder]  # it was emptied, and is there again
                self._meter.entry(folder)
                self.put(Entry(folder, "folder", mode=0o755, layer=number, offset=_IMPLIED))


# ---- files' contents, out of layers whose digests were verified before


class Reader:
    """Reads one file after another; of a compressed layer, on from where it was if that is before.

    So files that are asked for in their layer's order cost one decompression for all.
    """

    def __init__(self) -> None:
        self._blob: Blob | None = None
        self._feed = Feed(iter(()))

    def read(self, blob: Blob, entry: Entry) -> bytes:
        """Return a file's content; `blob` is its layer."""
        if not entry.pieces:
            return self._stored(blob, entry.offset, entry.size_bytes)
        content, begin = bytearray(entry.size_bytes), entry.offset
        for at, size in entry.pieces:
            content[at : at + size] = self._stored(blob, begin, size)
            begin += size
        return bytes(content)

    def _stored(self, blob: Blob, offset: int, size: int) -> bytes:
        if not blob.is_compressed:
            return b"".join(blob.part(offset, size).chunks())
        if self._blob != blob or self._feed.tell() > offset:
            self._blob, self._feed = blob, Feed(blobs.decompressed(blob.chunks()))
        self._feed.seek(offset)
        if len(content := self._feed.read(size)) < size:
            raise blobs.cut_off("a file has fewer bytes than it says")
        return content


def follow(path: str, entries: Mapping[str, Entry]) -> str:
    """Return where a path leads in a container: links are followed, and never lead out."""
    waiting = path.split("/")[::-1]
    here, links = "", 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = here.rpartition("/")[0]
        elif part not in ("", "."):
            here = f"{here}/{part}"
        entry = entries.get(here)
        if entry and entry.kind == "symlink":
            links += 1
            if links > _MOST_LINKS:
                raise BadLayer(f"{path!r} leads nowhere", "its links go in a circle")
            here = "" if entry.target.startswith("/") else here.rpartition("/")[0]
            waiting += entry.target.split("/")[::-1]
    return here


def find_file(entries: Mapping[str, Entry], path: str, where: str) -> Entry:
    """Find the regular file that a path leads to, in a tree or in one layer. Raises `LabError`."""
    here = follow(path, entries)
    entry = entries.get(here)
    if entry is None:
        folder, _, name = here.rpartition("/")
        beside = (known for known in entries if known.rpartition("/")[0] == folder)
        like = [known for known in entries if known.endswith(f"/{name}")]
        like = like or get_close_matches(here, beside, n=1)
        raise no_file(path, where, f"did you mean {like[0]!r}?" if like else "")
    if not entry.is_file:
        raise no_file(path, where, f"it is a {entry.kind}")
    return entry


def no_file(path: str, where: str, why: str) -> LabError:
    """Say that an image, or one of its layers, has no file of that name."""
    return LabError(f"there is no file {path!r} in {where}", why)
