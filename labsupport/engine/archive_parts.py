"""An image's archive taken apart, each part told by its first bytes, as file(1) does.

For looking, not for working: `labsupport.engine.images` reads images of any size and layout.
"""

from __future__ import annotations

import html
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
"""What stands where: kind, offset in bytes, the bytes; tar(5), elf(5), RFC 1952."""
_DEEPEST = 2  # an archive in the archive
_MOST_PARTS = 8
_LARGEST = 256 << 20  # bytes; a larger archive is not looked into


@dataclass(frozen=True)
class Part:
    """A file, and what its bytes say it is.

    `kind` is `tar`, `JSON`, `program`, `text`, `gzip`, `ISO image`, `folder`, `link` or `other`.
    `parts` are what a tar archive holds; links and folders have no bytes of their own.
    """

    name: str
    kind: str
    size_bytes: int
    parts: tuple[Part, ...] = ()

    def walk(self) -> Iterator[Part]:
        """Go through this part and all that is in it."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def kinds(self) -> set[str]:
        """Which kinds of files there are, itself included."""
        return {part.kind for part in self.walk()}

    def __repr__(self) -> str:
        return "\n".join(_lines(self))

    def _repr_html_(self) -> str:
        return f"<pre style='margin:0;line-height:1.35'>{html.escape(repr(self))}</pre>"


def unpacked(path: str | Path) -> Part:
    """Look into an archive of an image, as `docker save` writes it.

    Raises:
        ValueError: it is larger than 256 MB.

    """
    path = Path(path)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.name} is larger than {_LARGEST >> 20} MB")
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
        parts = tuple(_member(tar, member, depth) for member in tar)
    return Part(name, kind, len(content), parts)


def kind_of(content: bytes) -> str:
    """Tell what some bytes are by those that stand at certain places in them."""
    for kind, at, magic in MAGIC:
        if content[at : at + len(magic)] == magic:
            return kind
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "other"
    try:
        return "JSON" if isinstance(json.loads(text), dict | list) else "text"
    except ValueError:
        return "text"


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, depth: int) -> Part:
    if member.isdir():
        return Part(member.name, "folder", 0)
    if not member.isreg():
        return Part(f"{member.name} → {member.linkname}", "link", 0)
    file = tar.extractfile(member)
    return look(member.name, file.read() if file else b"", depth - 1)


def _lines(part: Part, indent: str = "") -> Iterator[str]:
    if not indent:
        yield _line(part)
    shown = part.parts[:_MOST_PARTS]
    rest = len(part.parts) - len(shown)
    for at, each in enumerate(shown):
        last = at == len(shown) - 1 and not rest
        yield f"{indent}{'└─' if last else '├─'} {_line(each)}"
        yield from _lines(each, f"{indent}{'   ' if last else '│  '}")
    if rest:
        yield f"{indent}└─ and {rest} more"


def _line(part: Part) -> str:
    size = f", {part.size_bytes:,} bytes" if part.kind not in ("folder", "link") else ""
    return f"{_short(part.name)}  ({part.kind}{size})"


def _short(name: str) -> str:
    """Cut the long digests that names are made of."""
    words = [word if len(word) < 60 else f"{word[:10]}…{word[64:]}" for word in name.split("/")]
    return "/".join(words)
