"""Which folders an overlay is made of, as the mount table of a process in it tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import NotAnOverlay
from labsupport.linux.layer_folders import Stack, read_layer
from labsupport.linux.mounts import mounts

_COLON = re.compile(r"(?<!\\):")


@dataclass(frozen=True)
class OverlayMount:
    """An overlay's folders: `lowers` are read-only, the uppermost first; `upper` is written to.

    `merged` is the tree that is seen, as a path on this side. `covered` are the names in it over
    which something else is mounted (an engine does that with `/etc/hosts`).
    """

    lowers: tuple[Path, ...]
    upper: Path | None
    merged: Path
    covered: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Call the folders by what they are, the uppermost first."""
        number = len(self.lowers)
        return ["upper"] * bool(self.upper) + [f"lower {number - at}" for at in range(number)]

    def look(self, paths: Sequence[str] | None = None) -> Stack:
        """Read what each folder has under these names, by default those that were written.

        Raises:
            PermissionError: the folders belong to somebody who does not let us look.

        """
        folders = [self.upper, *self.lowers] if self.upper else list(self.lowers)
        chosen = self.written() if paths is None else [path.strip("/") for path in paths]
        layers = tuple(
            read_layer(name, folder, only=chosen, writable=folder == self.upper)
            for name, folder in zip(self.names(), folders, strict=True)
        )
        return Stack(layers, read_layer("merged", self.merged, only=chosen))

    def written(self) -> list[str]:
        """Return the names in the writable folder, but for plain folders and what is covered."""
        if self.upper is None:
            return []
        entries = read_layer("upper", self.upper).entries
        names = (path for path, entry in entries.items() if entry.kind != "folder")
        return sorted(path for path in names if not self._is_covered(path))

    def _is_covered(self, path: str) -> bool:
        return any(path == point or path.startswith(f"{point}/") for point in self.covered)


def overlay_of(pid: int, point: str = "/") -> OverlayMount:
    """Read the folders of the overlay that a process sees at a mount point.

    Raises:
        NotAnOverlay: there is another file system, or one whose folders the kernel does not tell.
        NotMounted: nothing is mounted there.
        ProcessGone: there is no such process, or it belongs to somebody else.

    """
    table = mounts(of=pid)
    mount = table.at(point)
    options = [option.partition("=")[::2] for option in mount.super_options]
    lowers = [path for key, text in options if key == "lowerdir" for path in _COLON.split(text)]
    lowers += [text for key, text in options if key == "lowerdir+"]
    uppers = [text for key, text in options if key == "upperdir"]
    if mount.fstype != "overlay" or not lowers:
        raise NotAnOverlay(pid, point, mount.fstype)
    upper = Path(_plain(uppers[0])) if uppers else None
    # Docker writes short links, relative to where all its layers lie, if the line would be too long
    start = upper.parent.parent if upper else Path("/")
    found = tuple((start / _plain(lower)).resolve() for lower in lowers if lower)
    inside = point.rstrip("/") + "/"
    others = (other for other in table.visible() if other.startswith(inside) and other != point)
    covered = frozenset(other.removeprefix(inside) for other in others)
    return OverlayMount(found, upper, Path(f"/proc/{pid}/root") / point.strip("/"), covered)


def _plain(text: str) -> str:
    return text.replace("\\:", ":").replace("\\,", ",")
