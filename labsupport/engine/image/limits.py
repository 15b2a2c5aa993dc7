"""How much of an image is read at most: an archive is anybody's work, and may be a bomb."""

from __future__ import annotations

from dataclasses import dataclass

from labsupport.errors import GiantFile, TooManyBytes, TooManyFiles, TooMuchMetadata

MiB, GiB = 2**20, 2**30
LONGEST_PATH = 4096  # bytes, PATH_MAX of Linux
_ALWAYS_ALLOWED = GiB


@dataclass(frozen=True)
class Limits:
    """The most that is taken from one image; large real ones use about a tenth of it."""

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


class Meter:
    """Counts what has been read of one image; raises as soon as a limit is passed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries = self.names_bytes = self.unpacked_bytes = self.json_bytes = 0

    def entry(self, *names: str, pieces: int = 0) -> None:
        """Count an entry with its names; a sparse file counts once more for each of its pieces."""
        self.entries += 1 + pieces
        self.names_bytes += sum(map(len, names))
        if self.entries > self.limits.entries:
            raise TooManyFiles(self.limits.entries)
        if self.names_bytes > self.limits.names_bytes:
            raise TooMuchMetadata("the names in it", self.limits.names_bytes)

    def unpacked(self, size: int, stored: int) -> None:
        """Count a whole layer's bytes so far; `stored` is what it takes in the archive."""
        expanded = max(_ALWAYS_ALLOWED, self.limits.expansion * stored)
        allowed = min(expanded, self.limits.unpacked_bytes - self.unpacked_bytes)
        if size > allowed:
            raise TooManyBytes(size, stored, allowed)

    def layer_ends(self, size: int) -> None:
        """Add a layer that was read to its end."""
        self.unpacked_bytes += size

    def json(self, name: str, size: int) -> None:
        """Count a JSON file before it is read."""
        self.json_bytes += size
        if self.json_bytes > self.limits.json_bytes:
            raise TooMuchMetadata(name, self.limits.json_bytes)

    def file(self, path: str, size: int) -> None:
        """Refuse a file that says it is larger than all layers may be, such as a sparse one."""
        if size > self.limits.unpacked_bytes:
            raise GiantFile(path, size, self.limits.unpacked_bytes)
