"""Walk a tar archive's headers: `tarfile` reads them, and we hold the reins.

`tarfile` trusts an archive: it reads a header of any length into memory, goes on for ever where a
size is negative, and ends without a word where a header is damaged. So it reads through a guard.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import Protocol

from labsupport.errors import BadLayer, ImageTruncated, LabError, TooMuchMetadata

_LONG_NUMBER = re.compile(rb"\d{200}")  # some versions search headers in quadratic time
_UNREADABLE = "its tar archive cannot be read"
_MOST_GLOBAL_HEADERS = 64
_SAID_OF_EACH = 2048  # bytes; honest headers with nanoseconds, owners, capabilities take as much
_FORGIVEN = 16 * 2**20


class Stream(Protocol):
    """Bytes that are read from front to back."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, position: int, /) -> object: ...
    def tell(self) -> int: ...


class _Guard:
    """What `tarfile` gets as its file: forwards only, and headers of a reasonable length."""

    name = ""

    def __init__(self, stream: Stream, header_bytes: int) -> None:
        self._stream = stream
        self._header_bytes = self._left = header_bytes
        self._in_all = _FORGIVEN
        self.ends_well = False

    def next_member(self) -> None:
        self._left = self._header_bytes
        self._in_all += _SAID_OF_EACH

    def read(self, size: int) -> bytes:
        self._left -= size
        self._in_all -= size
        if min(self._left, self._in_all) < 0:
            raise TooMuchMetadata("the headers of a file", self._header_bytes)
        data = self._stream.read(size)
        if len(data) < size and (data or size != tarfile.BLOCKSIZE):
            raise ImageTruncated(f"it ends before byte {self.tell() + 1:,}, within a file")
        if size > tarfile.BLOCKSIZE and _LONG_NUMBER.search(data):
            raise BadLayer(_UNREADABLE, "a header has an endless number")
        self.ends_well = not data.strip(b"\0")
        return data

    def seek(self, position: int) -> None:
        if position < self._stream.tell():
            raise BadLayer(_UNREADABLE, "a file has a negative size")
        self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def walk(stream: Stream, header_bytes: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive, without their content.

    Raises `BadLayer`, `ImageTruncated` or `TooMuchMetadata`.
    """
    guard = _Guard(stream, header_bytes)
    try:
        with tarfile.TarFile(
            fileobj=guard,  # type: ignore[arg-type]
            mode="r",
            encoding="utf-8",
            errors="backslashreplace",
        ) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # a million of them take a GB
                if member.size < 0 or len(tar.pax_headers) > _MOST_GLOBAL_HEADERS:
                    raise BadLayer(_UNREADABLE, f"{member.name!r} is damaged")
                yield member
                guard.next_member()
    except LabError:
        raise
    except RecursionError as error:
        raise BadLayer(_UNREADABLE, "its headers explain one another without end") from error
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError) as error:
        if str(error) == "empty file":
            return
        raise BadLayer(_UNREADABLE, str(error)) from error
    if not guard.ends_well:
        raise BadLayer(_UNREADABLE, f"no header at {guard.tell():,}")
