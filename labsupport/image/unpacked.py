"""An image's archive taken apart, each part identified by its first bytes, as file(1) does.

For looking, not for working: `labsupport.image.image` reads images of any size and layout.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

MAGIC = (
    ("ISO image", 32769, b"CD001"),  # ISO 9660: the first volume descriptor, in sector 16
    ("tar", 257, b"ustar"),
    ("program", 0, b"\x7fELF"),
    ("gzip", 0, b"\x1f\x8b"),
)
"""Bytes at certain places: kind, offset in bytes, the bytes; tar(5), elf(5), RFC 1952."""
_DEEPEST = 2  # an archive in the archive
_MOST_PARTS = 8
_LARGEST = 256 << 20  # bytes of a compressed layer that are looked into


@dataclass(frozen=True, repr=False)
class Part:
    """A file, and what its bytes say it is.

    `kind` is `tar`, `JSON`, `program`, `text`, `gzip`, `ISO image`, `folder`, `link` or `other`.
    `parts` are what a tar archive holds; links and folders have no bytes of their own.
    """

    name: str
    kind: str
    size_bytes: int
    parts: tuple[Part, ...] = ()

    @property
    def kinds(self) -> set[str]:
        """Which kinds of files there are, itself included."""
        return {self.kind}.union(*(part.kinds for part in self.parts))

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        words = self.name.split("/")  # long digests that names are made of are cut
        name = "/".join(word if len(word) < 60 else f"{word[:10]}…{word[64:]}" for word in words)
        size = f", {self.size_bytes:,} bytes" if self.kind not in ("folder", "link") else ""
        yield f"{name}  ({self.kind}{size})"
        blocks = [list(part._lines()) for part in self.parts[:_MOST_PARTS]]
        if rest := len(self.parts) - len(blocks):
            blocks.append([f"and {rest} more"])
        for at, (first, *others) in enumerate(blocks, 1):
            yield f"{'├─' if at < len(blocks) else '└─'} {first}"
            yield from (f"{'│  ' if at < len(blocks) else '   '}{line}" for line in others)


def unpacked(path: str | Path) -> Part:
    """Look into an archive of an image, as `docker save` writes it."""
    path = Path(path)
    return look(path.name, path.read_bytes())


def look(name: str, content: bytes, depth: int = _DEEPEST) -> Part:
    """Tell what some bytes are, and what is in them if they are an archive."""
    kind = kind_of(content)
    if kind == "gzip" and depth:
        inner = zlib.decompressobj(wbits=31).decompress(content, _LARGEST)
        return replace(look(name, inner, depth), size_bytes=len(content))
    if kind != "tar" or not depth:
        return Part(name, kind, len(content))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return Part(name, kind, len(content), tuple(_member(tar, each, depth) for each in tar))


def kind_of(content: bytes) -> str:
    """Tell what some bytes are by those at certain places in them."""
    for kind, at, magic in MAGIC:
        if content[at : at + len(magic)] == magic:
            return kind
    try:
        return "JSON" if isinstance(json.loads(content.decode()), dict | list) else "text"
    except UnicodeDecodeError:
        return "other"
    except ValueError:
        return "text"


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, depth: int) -> Part:
    if member.isdir():
        return Part(member.name, "folder", 0)
    if not member.isreg() or not (file := tar.extractfile(member)):
        return Part(f"{member.name} → {member.linkname}", "link", 0)
    return look(member.name, file.read(), depth - 1)
