"""Keep an image's archive while it is in use: in one file, which has no name and ends with us."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from labsupport.engine.guest_disk import scratch
from labsupport.engine.image.blobs import Archive, Blob, Folder, Store, open_regular
from labsupport.engine.image.limits import Limits, Meter
from labsupport.engine.image.streams import decompressed, is_compressed, metered
from labsupport.errors import ImageNotKept


def open_store(path: Path, limits: Limits) -> Store:
    """Open an archive, also a compressed one, or a folder."""
    if path.is_dir():
        return Folder(path)
    file = open_regular(path)
    with _closed_on_error(file):
        whole = Blob(path.name, file, 0, os.fstat(file.fileno()).st_size)
        if not is_compressed(whole.first()):
            return Archive(file, limits)
        kept = keep(metered(decompressed(whole.chunks()), Meter(limits), whole.size_bytes))
    file.close()
    with _closed_on_error(kept):
        return Archive(kept, limits)


def keep(chunks: Iterable[bytes]) -> BinaryIO:
    """Write a stream to a file without a name: it is gone when it is closed, or we are killed.

    Raises `ImageNotKept` if there is no room.
    """
    file = tempfile.TemporaryFile(dir=scratch(), buffering=0)  # noqa: SIM115
    with _closed_on_error(file):
        for chunk in chunks:
            _write(file, chunk)
        file.seek(0)
    return file


def _write(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise ImageNotKept(
            f"the image cannot be kept in {scratch()}",
            str(error.strerror),
            "make room there, or name another folder: export TMPDIR=…",
        ) from error


@contextmanager
def _closed_on_error(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except BaseException:  # an interrupted cell, too
        file.close()
        raise
