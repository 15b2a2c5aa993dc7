"""The files of an image's archive, by name: nothing is unpacked, and what is read is bounded.

Anybody can make an archive, so it may be damaged or made to harm. A layer in it is read as a chain
of generators, each of which yields chunks of at most 64 KiB: decompressed, hashed and counted on
their way, never all in memory.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from labsupport.errors import BadLayer, LabError

# ---- how much is read at most

MiB, GiB = 2**20, 2**30
LONGEST_PATH = 4096  # bytes, PATH_MAX of Linux
_ALWAYS_ALLOWED = GiB
_WITH_LIMITS = "if you trust it: Image.open(path, limits=labsupport.image.image.Limits(…))"


@dataclass(frozen=True)
class Limits:
    """The most that is read from one image; large real ones use about a tenth of it."""

    layers: int = 512
    entries: int = 500_000
    """In all layers. Each takes about 400 bytes of memory, and 50 µs."""
    names_bytes: int = 128 * MiB
    """All paths and targets of links."""
    unpacked_bytes: int = 32 * GiB
    """All layers after decompression, which takes about 1 s per GiB."""
    expansion: int = 200
    """How many times its stored size a layer may become, if that is more than 1 GiB."""
    file_bytes: int = 512 * MiB
    """What `Image.read` returns."""
    header_bytes: int = MiB
    """What a tar archive may say of one member before its content begins."""
    json_bytes: int = 4 * MiB
    """All JSON files that are read, which take twenty times as much in memory."""


def bounded(size: int, most: int, what: str) -> None:
    """Raise `LabError` if something is more than is read of any image."""
    if size > most:
        why = f"{size:,}, and {most:,} are the most that is read"
        raise LabError(f"there is too much to read: {what}", why, _WITH_LIMITS)


class Meter:
    """Counts what has been read of one image; raises `LabError` as soon as a limit is passed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries = self.names_bytes = self.unpacked_bytes = self.json_bytes = 0

    def entry(self, *names: str, pieces: int = 1) -> None:
        """Count an entry with its names; a sparse file has `pieces`."""
        self.entries += max(1, pieces)
        self.names_bytes += sum(map(len, names))
        bounded(self.entries, self.limits.entries, "files")
        bounded(self.names_bytes, self.limits.names_bytes, "the bytes of their names")

    def json(self, name: str, size: int) -> None:
        """Count a JSON file before it is read."""
        self.json_bytes += size
        bounded(self.json_bytes, self.limits.json_bytes, f"the bytes of {name[:200]}")

    def flow(self, chunks: Iterator[bytes], stored: int) -> Iterator[bytes]:
        """Pass on what `stored` bytes become; stop a layer that becomes too big."""
        most = max(_ALWAYS_ALLOWED, self.limits.expansion * stored)
        most = min(most, self.limits.unpacked_bytes - self.unpacked_bytes)
        size = 0
        for chunk in chunks:
            size += len(chunk)
            bounded(size, most, f"what {stored:,} bytes become when they are decompressed")
            yield chunk
        self.unpacked_bytes += size


# ---- names in archives, made plain: nothing leads out, and one file has one name


def plain_path(name: str) -> str:
    """Return the absolute path of a member's name in an image; `BadLayer` if it leads out."""
    # `./etc/`, `etc`, `/etc` and `x/../etc` are the same, as for the engines
    if len(name) > LONGEST_PATH:
        raise BadLayer(f"a path of {len(name)} characters", f"Linux has at most {LONGEST_PATH}")
    if "\0" in name:
        raise BadLayer(f"the name {name[:80]!r}", "there is a NUL in it")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                why = "an engine that obeyed it would write elsewhere"
                raise _leads_out("file name", name, why)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _leads_out(what: str, name: str, why: str) -> BadLayer:
    """Say that a name or a link in an archive leads out of it."""
    remedy = f"do not load this image: no honest builder makes such {what}s"
    return BadLayer(f"the {what} {name[:200]!r} leads out of the image", why, remedy)


def link_target(link: str, target: str, folder: str = "") -> str:
    """Return the path that a link's target means in a folder; `BadLayer` if it leads out."""
    try:
        return plain_path(f"{folder}/{target}")
    except BadLayer as no:
        raise _leads_out("link", link, f"its target is {target[:200]!r}") from no


# ---- bytes from front to back

CHUNK = 2**16  # bytes; for each one written, the rest of the compressed one is copied
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_STREAMS = 1_000_000  # each takes 10 µs
_MOST_MEMORY = 2**27  # bytes; as much as zstd and xz take without being asked for more
_PIECEWISE: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(memlimit=_MOST_MEMORY),
}
"""How to undo gzip, bzip2 and xz, by the first bytes."""
_DAMAGED = "its compression is damaged"


def cut_off(why: str) -> LabError:
    """Say that an archive, or a layer in it, ends before it should."""
    return LabError("the image is cut off", why, "save or copy it again")


class Hashing:
    """Hash what flows by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def flow(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._hash.update(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """Return `sha256:…`, of all that has flowed by."""
        return f"sha256:{self._hash.hexdigest()}"


def compare(what: str, said: str, found: str) -> None:
    """Raise `BadLayer` unless something has the digest that the image says, if it says one."""
    if said and said != found:
        why = f"the image says {said}, and its content has {found}"
        remedy = "it was changed or damaged: save or copy it again, from a source that you trust"
        raise BadLayer(f"{what} does not match its digest", why, remedy)


def decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo gzip, bzip2, xz or zstd, recognised by the first bytes; all else stays as it is.

    Raises `BadLayer`, and `LabError` where it is cut off.
    """
    first = next(chunks, b"")
    chunks = chain([first] if first else [], chunks)
    if _is_zstd(first):
        return _unzstd(chunks)
    new = next((new for magic, new in _PIECEWISE.items() if first.startswith(magic)), None)
    return _undone(chunks, new) if new else chunks


def _is_zstd(first: bytes) -> bool:
    """Also where a frame without data comes first, as zstd:chunked has it; RFC 8878."""
    is_skippable = first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50
    return first.startswith(_ZSTD) or is_skippable


def _undone(chunks: Iterator[bytes], new: Callable[[], Any]) -> Iterator[bytes]:
    """Undo one stream after the other: eStargz makes one of each file."""
    streams, stream = 0, None
    for chunk in chunks:
        rest = chunk
        while rest:
            if stream is None or stream.eof:
                if not (rest := rest.lstrip(b"\0")):  # padding
                    break
                stream, streams = new(), streams + 1
                bounded(streams, _MOST_STREAMS, "compressed streams")
            yield from _pieces(stream, rest)
            rest = stream.unused_data
    if stream is not None and not stream.eof:
        raise cut_off("the compressed bytes of a layer end too soon")


def _pieces(stream: Any, rest: bytes) -> Iterator[bytes]:
    """Decompress one chunk, a bounded piece at a time."""
    while not stream.eof:
        try:
            data = stream.decompress(rest, CHUNK)
        except (zlib.error, lzma.LZMAError, OSError) as error:
            raise BadLayer(_DAMAGED, str(error)) from error
        rest = getattr(stream, "unconsumed_tail", b"")  # zlib's; the others keep it themselves
        if not data and not rest:
            return
        yield data


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo zstd, frame by frame: zstd:chunked makes one of each file."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_MEMORY)
    feed: Any = Feed(chunks)
    with decompressor.stream_reader(feed, read_size=CHUNK, read_across_frames=True) as reader:
        try:
            while data := reader.read(CHUNK):
                yield data
        except zstandard.ZstdError as error:
            raise BadLayer(_DAMAGED, str(error)) from error


class Feed:
    """Chunks as a file that is read from front to back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._begins = self._at = 0

    def tell(self) -> int:
        """Return how many bytes have been read or skipped."""
        return self._begins + self._at

    def seek(self, position: int) -> None:
        """Skip to a position further on; raises `LabError` if there is none."""
        while position > self._begins + len(self._chunk):
            if not self._advance():
                raise cut_off(f"it ends at {self.tell():,}, and goes on to {position:,}")
        self._at = position - self._begins

    def read(self, size: int) -> bytes:
        """Return that many bytes, or fewer at the end."""
        parts = []
        while size:
            part = self._chunk[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
            if size and not self._advance():
                break
        return b"".join(parts)

    def drain(self) -> None:
        """Read on to the end: what is hashed on its way is hashed whole."""
        while self._advance():
            pass

    def _advance(self) -> bool:
        self._begins += len(self._chunk)
        self._chunk, self._at = next(self._chunks, b""), 0
        return bool(self._chunk)


# ---- a tar archive's headers
#
# `tarfile` trusts an archive: it reads a header of any length into memory, never ends where
# a size is negative, and ends without an error where a header is damaged. So it reads through a
# guard.

_LONG_NUMBER = re.compile(rb"\d{200}")  # some versions search headers in quadratic time
_UNREADABLE = "its tar archive cannot be read"
_MOST_GLOBAL_HEADERS = 64
_SAID_OF_EACH = 2048  # bytes; honest headers with nanoseconds, owners, capabilities take as much
_FORGIVEN = 16 * MiB


class _Guard:
    """What `tarfile` gets as its file: forwards only, and headers of a reasonable length."""

    name = ""

    def __init__(self, stream: BinaryIO | Feed, header_bytes: int) -> None:
        self._stream = stream
        self._header_bytes = self._left = header_bytes
        self._in_all = _FORGIVEN
        self.ends_well = False
        self.tell = stream.tell

    def next_member(self) -> None:
        self._left = self._header_bytes
        self._in_all += _SAID_OF_EACH

    def read(self, size: int) -> bytes:
        self._left -= size
        self._in_all -= size
        said = self._header_bytes - min(self._left, self._in_all)
        bounded(said, self._header_bytes, "the bytes of headers")
        data = self._stream.read(size)
        if len(data) < size and (data or size != tarfile.BLOCKSIZE):
            raise cut_off(f"it ends before byte {self.tell() + 1:,}, within a file")
        if size > tarfile.BLOCKSIZE and _LONG_NUMBER.search(data):
            raise BadLayer(_UNREADABLE, "a header has an endless number")
        self.ends_well = not data.strip(b"\0")
        return data

    def seek(self, position: int) -> None:
        if position < self.tell():
            raise BadLayer(_UNREADABLE, "a file has a negative size")
        self._stream.seek(position)


def walk(stream: BinaryIO | Feed, header_bytes: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive, without their content; raises `BadLayer` or `LabError`."""
    guard: Any = _Guard(stream, header_bytes)
    how: Any = {"mode": "r", "encoding": "utf-8", "errors": "backslashreplace"}
    try:
        with tarfile.TarFile(fileobj=guard, **how) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # a million of them take a GB
                if member.size < 0 or len(tar.pax_headers) > _MOST_GLOBAL_HEADERS:
                    raise BadLayer(_UNREADABLE, f"{member.name!r} is damaged")
                yield member
                guard.next_member()
    except RecursionError as error:
        raise BadLayer(_UNREADABLE, "its headers explain one another without end") from error
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError) as error:
        if str(error) == "empty file":
            return
        raise BadLayer(_UNREADABLE, str(error)) from error
    if not guard.ends_well:
        raise BadLayer(_UNREADABLE, f"no header at {guard.tell():,}")


# ---- the archive itself

_MOST_MEMBERS = 100_000
_MOST_LINKS = 8


@dataclass(frozen=True)
class Blob:
    """A part of an open file."""

    name: str
    file: BinaryIO
    offset: int
    size_bytes: int

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes; raises `LabError` where the file ends before."""
        at, end = self.offset, self.offset + self.size_bytes
        while at < end:
            chunk = self._pread(min(CHUNK, end - at), at)
            if not chunk:
                raise cut_off(f"{end - at:,} bytes of {self.name} are missing")
            yield chunk
            at += len(chunk)

    @property
    def is_compressed(self) -> bool:
        """Whether it is compressed, in a way that we know of."""
        first = self._pread(min(8, self.size_bytes), self.offset)
        return first.startswith(tuple(_PIECEWISE)) or _is_zstd(first)

    def part(self, offset: int, size_bytes: int) -> Blob:
        return replace(self, offset=self.offset + offset, size_bytes=size_bytes)

    def _pread(self, size: int, at: int) -> bytes:
        if self.file.closed:
            reopen = "open it again: Image.open(…)"
            raise LabError(f"{self.name} cannot be read", "the image has been closed", reopen)
        return os.pread(self.file.fileno(), size, at)


class Archive:
    """The members of a tar archive; a link between them stands for what it leads to."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self.file = file
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, tuple[str, str]] = {}
        try:
            for count, member in enumerate(walk(file, limits.header_bytes)):
                bounded(count, _MOST_MEMBERS, "files in the archive")
                self._note(member)
        except BadLayer as no:
            raise LabError("this is not an image", f"{no.what}: {no.why}", no.remedy) from no

    def _note(self, member: tarfile.TarInfo) -> None:
        name = plain_path(member.name)
        if member.isdir():
            return
        if name in self._members or name in self._links:
            what = f"the archive has more than one {member.name[:200]!r}"
            raise LabError(what, "which of them is meant cannot be told", "save the image again")
        if member.issym() and not member.linkname.startswith("/"):
            self._links[name] = name.rpartition("/")[0], member.linkname
        elif member.issym() or member.islnk():
            self._links[name] = "", member.linkname
        elif member.isreg() and not member.issparse():
            self._members[name] = member.offset_data, member.size

    def blob(self, name: str) -> Blob | None:
        """Find a member, None if there is none with that name; `BadLayer` if it leads out."""
        path = plain_path(name)
        for _ in range(_MOST_LINKS):
            if path in self._links:
                folder, target = self._links[path]
                path = link_target(path, target, folder)
        found = self._members.get(path)
        return Blob(name, self.file, *found) if found else None


def open_regular(path: Path) -> BinaryIO:
    """Open a file; raises `LabError` for a folder, a device, a pipe or what cannot be read."""
    try:
        # without waiting: a pipe would wait for its writer; the caller closes it
        file = open(path, "rb", opener=lambda p, f: os.open(p, f | os.O_NONBLOCK))  # noqa: SIM115
    except IsADirectoryError as error:
        remedy = f"pack it: tar -C {path} -cf image.tar ."
        raise LabError(f"{path} is not an archive", "it is a folder", remedy) from error
    except OSError as error:
        raise LabError(f"{path} cannot be read", str(error.strerror)) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise LabError(f"{path} is not an archive", "it is not an ordinary file")
    return file
