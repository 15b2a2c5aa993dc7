"""Stack layers as overlayfs does: what each adds, changes and deletes, and what stays."""

from __future__ import annotations

from dataclasses import dataclass, field

from labsupport.engine.image.entries import Entry
from labsupport.engine.image.layer_reading import Contents
from labsupport.engine.image.limits import Meter
from labsupport.errors import BadLayer

_IMPLIED = -1  # the offset of a folder that no layer names
Gone = dict[str, Entry]


@dataclass
class Change:
    """What a layer did: paths it brought anew, paths it changed, and entries that it took away.

    `replaced` are the files in whose place it put something else than a file.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: Gone = field(default_factory=dict)
    replaced: Gone = field(default_factory=dict)


class Tree:
    """What the layers so far make together; `entries` by path.

    Folders that no layer names, but that have something in them, are there too.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.entries: dict[str, Entry] = {}
        self._inside: dict[str, set[str]] = {}

    def put(self, layer: Contents, number: int) -> Change:
        """Put a layer on top, and say what it did. Raises `BadLayer` if it contradicts itself."""
        gone: Gone = {}
        for path in layer.whiteouts:
            self._remove(path, gone)
        for folder in layer.opaque:
            self._empty(folder, gone)
        for path, entry in layer.files.items():
            _check_place(path, layer)
            if entry.kind != "folder":
                self._empty(path, gone)
        change = Change()
        for path, entry in layer.files.items():
            self._make_folders(path, layer, number, gone)
            old = gone.pop(path, None) or self.entries.get(path)
            _compare(old, entry, change)
            self._set(entry)
        change.deleted = {path: old for path, old in gone.items() if old.offset != _IMPLIED}
        return change

    def _make_folders(self, path: str, layer: Contents, number: int, gone: Gone) -> None:
        """Make the folders that a path lies in, in place of what else may be there."""
        missing = []
        while (path := path.rpartition("/")[0]) and not self._is_folder(path):
            missing.append(path)
        for folder in reversed(missing):
            if folder not in layer.files:  # else its turn comes
                self._remove(folder, gone)
                if folder in gone and gone[folder].kind == "folder":
                    del gone[folder]  # it was emptied, and is there again
                self._meter.entry(folder)
                self._set(Entry(folder, "folder", mode=0o755, layer=number, offset=_IMPLIED))

    def _is_folder(self, path: str) -> bool:
        return path in self.entries and self.entries[path].kind == "folder"

    def _set(self, entry: Entry) -> None:
        self.entries[entry.path] = entry
        if entry.path != "/":
            folder = entry.path.rpartition("/")[0] or "/"
            self._inside.setdefault(folder, set()).add(entry.path)

    def _remove(self, path: str, gone: Gone) -> None:
        """Take a path away, and all below."""
        self._empty(path, gone)
        if path in self.entries:
            gone[path] = self.entries.pop(path)
            self._inside[path.rpartition("/")[0] or "/"].discard(path)

    def _empty(self, folder: str, gone: Gone) -> None:
        """Take away all below a path; without recursion, for folders may be very deep."""
        waiting = list(self._inside.pop(folder, ()))
        while waiting:
            path = waiting.pop()
            gone[path] = self.entries.pop(path)
            waiting.extend(self._inside.pop(path, ()))


def _check_place(path: str, layer: Contents) -> None:
    """Raise `BadLayer` for what lies in something that the layer itself says is no folder."""
    while path := path.rpartition("/")[0]:
        if path in layer.files:
            if layer.files[path].kind != "folder":
                raise BadLayer(f"{path!r} is no folder", "yet there are files in it")
            return


def _compare(old: Entry | None, new: Entry, change: Change) -> None:
    """Note what an entry is to what was in its place: a folder's time alone is no change."""
    if old is None or old.offset == _IMPLIED:
        change.added.append(new.path)
    elif not old.kind == new.kind == "folder" or (old.mode, old.uid, old.gid) != (
        new.mode,
        new.uid,
        new.gid,
    ):
        change.changed.append(new.path)
        if old.kind == "file" != new.kind:
            change.replaced[new.path] = old
