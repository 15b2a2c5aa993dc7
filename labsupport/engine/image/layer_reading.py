"""Read a layer's entries out of its tar archive."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass, field
from typing import BinaryIO

from labsupport.engine.image.entries import Entry

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
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
    """What a layer's archive holds: entries, paths it deletes, folders whose lower side it hides."""

    files: dict[str, Entry] = field(default_factory=dict)
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    diff_id: str = ""


def read_layer(blob: BinaryIO, number: int) -> Contents:
    """Read all of a layer."""
    found = Contents()
    with tarfile.open(fileobj=blob, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            _note(member, found, number)
    blob.seek(0)
    found.diff_id = "sha256:" + hashlib.file_digest(blob, "sha256").hexdigest()
    return found


def _note(member: tarfile.TarInfo, found: Contents, number: int) -> None:
    path = "/" + member.name.removeprefix("./").strip("/")
    folder, _, name = path.rpartition("/")
    if name == OPAQUE:
        found.opaque.append(folder or "/")
    elif name.startswith(WHITEOUT):
        found.whiteouts.append(f"{folder}/{name.removeprefix(WHITEOUT)}")
    else:
        kind = _KINDS.get(member.type, "file")
        found.files[path] = Entry(
            path,
            kind,
            member.size if kind == "file" else 0,
            member.mode & 0o7777,
            member.uid,
            member.gid,
            "/" + member.linkname.lstrip("/") if kind == "hardlink" else member.linkname,
            float(member.mtime),
            number,
            member.offset,
        )
