"""The files of an image's archive or folder, by name; nothing is ever unpacked.

A name is found in an index that we made ourselves, or in the folder after all its links were
followed and seen to stay inside.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from labsupport.engine.image.limits import Limits
from labsupport.engine.image.naming import plain_path
from labsupport.engine.image.streams import CHUNK
from labsupport.engine.image.tar_walking import walk
from labsupport.errors import (
    BadLayer,
    DuplicateMember,
    ImageClosed,
    ImageTruncated,
    LinkLeadsOut,
    NotAnImage,
)

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
        """Yield its bytes; raises `ImageTruncated` where the file ends before."""
        at, end = self.offset, self.offset + self.size_bytes
        while at < end:
            chunk = self._pread(min(CHUNK, end - at), at)
            if not chunk:
                raise ImageTruncated(f"{end - at:,} bytes of {self.name} are missing")
            yield chunk
            at += len(chunk)

    def first(self) -> bytes:
        """Return some bytes, by which to tell a format."""
        return self._pread(min(8, self.size_bytes), self.offset)

    def part(self, offset: int, size_bytes: int) -> Blob:
        """Return a part of it as one of its own."""
        return replace(self, offset=self.offset + offset, size_bytes=size_bytes)

    def _pread(self, size: int, at: int) -> bytes:
        if self.file.closed:
            raise ImageClosed(self.name)
        return os.pread(self.file.fileno(), size, at)


class Store(Protocol):
    """Where blobs are: an archive, or a folder."""

    def blob(self, name: str) -> Blob | None:
        """Find a file; None if there is none of that name."""

    def close(self) -> None:
        """Close all its files."""


class Archive:
    """The members of a tar archive; a link between them stands for what it leads to."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, tuple[str, str]] = {}
        try:
            for count, member in enumerate(walk(file, limits.header_bytes)):
                if count == _MOST_MEMBERS:
                    raise NotAnImage("this is no image", f"it has more than {count:,} files")
                self._note(member)
        except BadLayer as no:
            raise NotAnImage("this is no image", f"{no.what}: {no.why}") from no

    def _note(self, member: tarfile.TarInfo) -> None:
        name = plain_path(member.name)
        if member.isdir():
            return
        if name in self._members or name in self._links:
            raise DuplicateMember(member.name)
        if member.issym():
            self._links[name] = name, member.linkname
        elif member.islnk():
            self._links[name] = "/", member.linkname
        elif member.isreg() and not member.issparse():
            self._members[name] = member.offset_data, member.size

    def blob(self, name: str) -> Blob | None:
        """Find a member; raises `LinkLeadsOut` if it is a link out of the archive."""
        path = plain_path(name)
        for _ in range(_MOST_LINKS):
            if path not in self._links:
                break
            path = _joined(*self._links[path])
        found = self._members.get(path)
        return Blob(name, self._file, *found) if found else None

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


class Folder:
    """The files in a folder of an OCI image."""

    def __init__(self, path: Path) -> None:
        self._root = path.resolve()
        self._files: dict[str, BinaryIO] = {}

    def blob(self, name: str) -> Blob | None:
        """Find a file; raises `LinkLeadsOut` for one that is elsewhere."""
        try:
            path = (self._root / plain_path(name).lstrip("/")).resolve()
            there = path.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, a circle of links
            raise NotAnImage(f"{name[:200]!r} cannot be read", str(error)[:300]) from error
        if not path.is_relative_to(self._root):
            raise LinkLeadsOut(name, str(path))
        if not there:
            return None
        if str(path) not in self._files:
            self._files[str(path)] = open_regular(path)
        file = self._files[str(path)]
        return Blob(name, file, 0, os.fstat(file.fileno()).st_size)

    def close(self) -> None:
        """Close the files that were used."""
        for file in self._files.values():
            file.close()


def open_regular(path: Path) -> BinaryIO:
    """Open a file; raises `NotAnImage` for a device, a pipe or what cannot be read."""
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        raise NotAnImage(f"{path} cannot be read", str(error.strerror)) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAnImage(f"{path} is no image", "it is neither a file nor a folder")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its writer


def _joined(link: str, target: str) -> str:
    """Follow a link by its words alone; raises `LinkLeadsOut`."""
    parts = list(PurePosixPath(link).parts[1:-1])
    for part in target.split("/"):
        if (part == ".." and not parts) or target.startswith("/"):
            raise LinkLeadsOut(link, target)
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
