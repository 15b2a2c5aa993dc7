"""What is in an image more than once, counted as the program dive counts it.

For each path that is not a folder: its sizes in all layers that have it. To be deleted counts as
once more, with no bytes. A path that occurs more than once is wasteful, with all of its bytes; and
efficient is an image whose paths all have their smallest size.

One difference: dive counts what is in a deleted folder at the folder's own path, and so misses it;
here each of its files counts as if it had been deleted alone. See dive/filetree/efficiency.go of
https://github.com/wagoodman/dive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labsupport.engine.image.entries import Entry
from labsupport.engine.image.tree import Change


@dataclass(frozen=True)
class Waste:
    """`wasted` has a path, its bytes in all layers, and how often it occurs; the largest first."""

    wasted: tuple[tuple[str, int, int], ...]
    efficiency: float

    @property
    def wasted_bytes(self) -> int:
        """The sum of all."""
        return sum(size for _, size, _ in self.wasted)


def find_waste(layers: Iterable[tuple[Iterable[Entry], Change]]) -> Waste:
    """Count; each layer is its entries, and what it did."""
    sizes: dict[str, list[int]] = {}
    for entries, change in layers:
        for entry in entries:
            if entry.kind != "folder" or entry.path in change.replaced:
                sizes.setdefault(entry.path, []).append(entry.size_bytes)
        for path, entry in change.deleted.items():
            if entry.kind != "folder":
                sizes[path].append(0)
    rows = ((path, sum(each), len(each)) for path, each in sizes.items() if len(each) > 1)
    wasted = sorted((row for row in rows if row[1]), key=lambda row: (-row[1], row[0]))
    total, least = sum(map(sum, sizes.values())), sum(map(min, sizes.values()))
    return Waste(tuple(wasted), least / total if total else 1.0)
