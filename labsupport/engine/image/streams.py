"""Bytes from front to back: decompressed, hashed and counted on their way, never all in memory.

A layer is a chain of generators, each of which yields chunks of at most 1 MiB.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

import zstandard

from labsupport.engine.image.limits import Meter
from labsupport.errors import BadLayer, ImageTruncated

CHUNK = 2**20
_INPUT = 2**16  # a compressed chunk that makes a thousand times as much must be cut often
_GZIP, _ZSTD, _BZIP2, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"
_MOST_GZIP_MEMBERS = 1_000_000  # each takes 10 µs
_WIDEST_ZSTD_WINDOW = 2**27  # bytes; what zstd itself takes without being asked for more


class Hashing:
    """Count and hash what flows by."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.size = 0
        self._hash = hashlib.new(algorithm)

    def flow(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the chunks on."""
        for chunk in chunks:
            self.size += len(chunk)
            self._hash.update(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """Return `sha256:…`, of all that has flowed by."""
        return f"{self._hash.name}:{self._hash.hexdigest()}"


def decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo gzip or zstd, told by the first bytes as the engines do; anything else stays as it is.

    Raises `BadLayer` or `ImageTruncated`.
    """
    first = next(chunks, b"")
    if first.startswith(_GZIP):
        yield from _gunzipped(_again(first, chunks))
    elif first.startswith(_ZSTD) or _is_skippable(first):
        yield from _unzstd(_again(first, chunks))
    elif is_compressed(first):
        raise BadLayer("it is compressed in an unusual way", "only gzip and zstd are known")
    else:
        yield from _again(first, chunks)


def is_compressed(first: bytes) -> bool:
    """Tell by its first bytes whether a file is compressed, in a way that we know of."""
    return first.startswith((_GZIP, _ZSTD, _BZIP2, _XZ)) or _is_skippable(first)


def metered(chunks: Iterator[bytes], meter: Meter, stored: int) -> Iterator[bytes]:
    """Stop a layer that becomes too big."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        meter.unpacked(size, stored)
        yield chunk


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
        """Skip to a position further on; raises `ImageTruncated` if there is none."""
        while position > self._begins + len(self._chunk):
            if not self._advance():
                raise ImageTruncated(f"it ends at {self.tell():,}, and goes on to {position:,}")
        self._at = position - self._begins

    def read(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end."""
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


def _again(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from chunks


def _is_skippable(first: bytes) -> bool:
    """A frame that holds no data; zstd:chunked keeps its table of contents in one. RFC 8878."""
    return first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50


def _gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo gzip, member by member: eStargz makes one of each file."""
    members = 0
    member = None
    for chunk in _cut(chunks):
        rest = chunk
        while rest:
            if member is None:
                if not (rest := rest.lstrip(b"\0")):  # padding
                    break
                member, members = zlib.decompressobj(wbits=31), members + 1
                if members > _MOST_GZIP_MEMBERS:
                    raise BadLayer("its compression is damaged", "it is in too many pieces")
            yield from _inflated(member, rest)
            rest = member.unused_data
            if member.eof:
                member = None
    if member is not None:
        raise ImageTruncated("the compressed bytes of a layer end too soon")


def _inflated(member: zlib._Decompress, rest: bytes) -> Iterator[bytes]:
    """Decompress one chunk, a bounded piece at a time."""
    while rest and not member.eof:
        try:
            data = member.decompress(rest, CHUNK)
        except zlib.error as error:
            raise BadLayer("its compression is damaged", str(error)) from error
        rest = member.unconsumed_tail
        if data:
            yield data


def _cut(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Make the chunks small: what is left of one is copied for each piece that it becomes."""
    for chunk in chunks:
        for at in range(0, len(chunk), _INPUT):
            yield chunk[at : at + _INPUT]


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo zstd, frame by frame: zstd:chunked makes one of each file."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WIDEST_ZSTD_WINDOW)
    with decompressor.stream_reader(
        Feed(chunks),  # type: ignore[arg-type]  # it only reads
        read_size=_INPUT,
        read_across_frames=True,
    ) as reader:
        try:
            while data := reader.read(CHUNK):
                yield data
        except zstandard.ZstdError as error:
            raise BadLayer("its compression is damaged", str(error)) from error
