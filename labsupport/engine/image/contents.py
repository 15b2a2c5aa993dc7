"""Read files' contents out of layers whose digests were verified before."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.engine.image.blobs import Blob
from labsupport.engine.image.entries import Entry
from labsupport.engine.image.streams import Feed, decompressed, is_compressed

Pieces = Sequence[tuple[int, int]]
"""Where the stored bytes of a sparse file belong: offsets and sizes."""


class Reader:
    """Reads one file after another; of a compressed layer, on from where it was if that is before.

    So files that are asked for in their layer's order cost one decompression for all.
    """

    def __init__(self) -> None:
        self._blob: Blob | None = None
        self._feed = Feed(iter(()))

    def read(self, blob: Blob, entry: Entry, pieces: Pieces | None) -> bytes:
        """Return a file's content; `blob` is its layer, `pieces` tells of a sparse one."""
        size = entry.size_bytes if pieces is None else sum(size for _, size in pieces)
        if is_compressed(blob.first()):
            content = self._decompressed(blob, entry.offset).read(size)
        else:
            content = b"".join(blob.part(entry.offset, size).chunks())
        return content if pieces is None else _spread(content, pieces, entry.size_bytes)

    def _decompressed(self, blob: Blob, offset: int) -> Feed:
        if self._blob != blob or self._feed.tell() > offset:
            self._blob, self._feed = blob, Feed(decompressed(blob.chunks()))
        self._feed.seek(offset)
        return self._feed


def _spread(stored: bytes, pieces: Pieces, size: int) -> bytes:
    content = bytearray(size)
    at = 0
    for offset, length in pieces:
        content[offset : offset + length] = stored[at : at + length]
        at += length
    return bytes(content)
