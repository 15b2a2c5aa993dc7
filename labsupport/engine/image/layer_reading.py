"""Read a layer: verify its digests, and note what its tar archive holds."""

from __future__ import annotations

import math
import tarfile
from dataclasses import dataclass, field
from typing import cast

from labsupport.engine.image.blobs import Blob
from labsupport.engine.image.entries import Entry
from labsupport.engine.image.limits import Meter
from labsupport.engine.image.naming import hard_link_target, plain_path, symlink_target
from labsupport.engine.image.streams import Feed, Hashing, decompressed, is_compressed, metered
from labsupport.engine.image.tar_walking import walk
from labsupport.errors import BadLayer, DigestMismatch, LabError, PathLeadsOut

# see layer.md of the OCI image specification
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
_AUFS = ".wh..wh."  # what aufs notes for itself; engines leave it out
_KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
}


@dataclass
class Contents:
    """What a layer holds: its entries, the paths it deletes, the folders whose lower part it hides.

    `pieces` tells of a sparse file where its stored bytes belong: offsets and sizes. `digest` is
    that of the layer as it is stored.
    """

    digest: str = ""
    files: dict[str, Entry] = field(default_factory=dict)
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    pieces: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def read_layer(blob: Blob, digest: str, diff_id: str, number: int, meter: Meter) -> Contents:
    """Read a layer to its end; `digest` is the one it is stored under, if it is.

    Raises `BadLayer`, `ImageTruncated`, `DigestMismatch`, `PathLeadsOut`, `LinkLeadsOut`, or one of
    the errors of `Meter`.
    """
    contents = Contents()
    stored, plain = Hashing(_algorithm(digest)), Hashing(_algorithm(diff_id))
    twofold = is_compressed(blob.first()) or _algorithm(digest) != _algorithm(diff_id)
    chunks = stored.flow(blob.chunks()) if twofold else blob.chunks()
    feed = Feed(plain.flow(metered(decompressed(chunks), meter, blob.size_bytes)))
    try:
        for member in walk(feed, meter.limits.header_bytes):
            _note(member, contents, number, meter)
        feed.drain()
        meter.layer_ends(plain.size)
        contents.digest = stored.digest if twofold else plain.digest
        _compare("its content", diff_id, plain.digest)
        _compare("what is stored of it", digest, contents.digest)
    except LabError as error:
        error.what = f"layer {number}: {error.what}"
        raise
    return contents


def _note(member: tarfile.TarInfo, contents: Contents, number: int, meter: Meter) -> None:
    path = plain_path(member.name)
    folder, _, name = path.rpartition("/")
    if name == OPAQUE:
        contents.opaque.append(folder or "/")
    elif name.startswith(_AUFS):
        pass
    elif name.startswith(WHITEOUT):
        deleted = name.removeprefix(WHITEOUT)
        if deleted in ("", ".", ".."):
            raise PathLeadsOut(member.name)
        contents.whiteouts.append(f"{folder}/{deleted}")
    else:
        contents.files[path] = _entry(member, path, number)
        meter.file(path, member.size)
    pieces = _pieces(member)
    if pieces is not None:
        contents.pieces[path] = pieces
    meter.entry(path, member.linkname, pieces=len(pieces or ()))


def _entry(member: tarfile.TarInfo, path: str, number: int) -> Entry:
    kind = _KINDS.get(member.type, "file")
    target = ""
    if kind == "symlink":
        target = symlink_target(member.linkname)
    elif kind == "hardlink":
        target = hard_link_target(path, member.linkname)
    return Entry(
        path,
        kind,
        member.size if kind == "file" else 0,
        member.mode & 0o7777,  # Docker adds the file's kind to it
        member.uid,
        member.gid,
        target,
        float(member.mtime) if math.isfinite(member.mtime) else 0.0,
        number,
        member.offset_data,
    )


def _pieces(member: tarfile.TarInfo) -> list[tuple[int, int]] | None:
    """Return where the stored bytes of a sparse file belong; raises `BadLayer` if they cannot."""
    if not member.issparse():
        return None
    pieces = cast("list[tuple[int, int]]", member.sparse)
    end = 0
    for offset, size in pieces:
        if offset < end or size < 0 or offset + size > member.size:
            raise BadLayer(f"the sparse file {member.name!r} is damaged", "its pieces overlap")
        end = offset + size
    return pieces


def _algorithm(digest: str) -> str:
    return digest.partition(":")[0] or "sha256"


def _compare(what: str, said: str, found: str) -> None:
    if said and said != found:
        raise DigestMismatch(what, said, found)
