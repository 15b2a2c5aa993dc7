"""Find a file by a path as a container would: links are followed, and never lead out."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from labsupport.engine.image.entries import Entry
from labsupport.errors import NoSuchFile

_MOST_LINKS = 40  # as many as Linux follows; path_resolution(7)


def find_file(entries: Mapping[str, Entry], path: str, where: str) -> Entry:
    """Find the regular file that a path leads to, in a tree or in one layer.

    Raises `NoSuchFile`, also for a folder or a link that leads nowhere.
    """
    waiting = path.split("/")[::-1]
    here, links = "", 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = here.rpartition("/")[0]
        elif part not in ("", "."):
            here = f"{here}/{part}"
        entry = entries.get(here)
        if entry and entry.kind == "symlink":
            links += 1
            if links > _MOST_LINKS:
                raise NoSuchFile(path, f"{where}: its links go in a circle")
            here = "" if entry.target.startswith("/") else here.rpartition("/")[0]
            waiting += entry.target.split("/")[::-1]
    entry = entries.get(here)
    if entry is None:
        raise NoSuchFile(path, where, _like(here, entries))
    if entry.kind not in ("file", "hardlink"):
        raise NoSuchFile(path, f"{where}: it is a {entry.kind}")
    return entry


def _like(path: str, entries: Mapping[str, Entry]) -> str:
    """Return a path that may be meant: one of that name elsewhere, or with a name like it."""
    folder, _, name = path.rpartition("/")
    elsewhere = (known for known in entries if known.endswith(f"/{name}"))
    beside = (known for known in entries if known.rpartition("/")[0] == folder)
    return next(elsewhere, "") or next(iter(get_close_matches(path, beside, n=1)), "")


def hard_linked(entries: Mapping[str, Entry], entry: Entry, where: str) -> Entry:
    """Find the file of its own layer that a hard link is another name for."""
    path = entry.path
    for _ in range(_MOST_LINKS):
        if entry.kind != "hardlink":
            return entry
        if entry.target not in entries:
            break
        entry = entries[entry.target]
    raise NoSuchFile(path, f"{where}: it is a hard link to nothing")
