"""Stack layers: what each adds, changes and deletes, and what is there in the end."""

from __future__ import annotations

from dataclasses import dataclass

from labsupport.engine.image.entries import Entry
from labsupport.engine.image.layer_reading import Contents


@dataclass(frozen=True)
class Change:
    """What a layer does to the tree below; `hidden` are the entries that it took away."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    hidden: dict[str, Entry]


def stack(tree: dict[str, Entry], layer: Contents) -> Change:
    """Put a layer on a tree (which it changes), and say what it did."""
    gone = {path for whiteout in layer.whiteouts for path in _with_below(tree, whiteout)}
    gone |= {path for folder in layer.opaque for path in _with_below(tree, folder)} - {
        *layer.opaque
    }
    for path, entry in layer.files.items():
        if entry.kind != "folder" and path in tree and tree[path].kind == "folder":
            gone |= {below for below in _with_below(tree, path)}
    hidden = {path: tree[path] for path in gone if path not in layer.files}
    added = tuple(path for path in layer.files if path not in tree)
    changed = tuple(
        path for path, entry in layer.files.items() if path in tree and _differs(entry, tree[path])
    )
    for path in hidden:
        del tree[path]
    tree.update(layer.files)
    return Change(added, changed, tuple(sorted(hidden)), hidden)


def _with_below(tree: dict[str, Entry], top: str) -> list[str]:
    inside = top.rstrip("/") + "/"
    return [path for path in tree if path == top or path.startswith(inside)]


def _differs(new: Entry, old: Entry) -> bool:
    if new.kind == old.kind == "folder":
        return (new.mode, new.uid, new.gid) != (old.mode, old.uid, old.gid)
    return True
