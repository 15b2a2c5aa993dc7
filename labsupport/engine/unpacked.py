"""An image's files as a folder: what an engine does before it starts a container, done by us.

Only what a container of the course's own can use is written: folders, files and links. Nothing can
come to lie outside of the folder: names were checked when the image was read, and no link is
followed on the way.
"""

from __future__ import annotations

import os
from pathlib import Path

from labsupport.engine.image.entries import Entry
from labsupport.engine.images import Image
from labsupport.errors import ImageNotUnpacked


def unpack(image: Image, folder: Path) -> None:
    """Write an image's stacked files into an empty folder.

    Owners stay ours, as they must for an ordinary user.

    Raises:
        ImageNotUnpacked: the image holds what cannot be made here, such as a device.

    """
    for path, entry in sorted(image.tree().items()):
        target = folder / path.lstrip("/")
        if not target.parent.resolve().is_relative_to(folder.resolve()):
            raise ImageNotUnpacked(f"{path} would lie outside", "a link leads there")
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(image, entry, path, target)


def _write(image: Image, entry: Entry, path: str, target: Path) -> None:
    if entry.kind == "folder":
        target.mkdir(exist_ok=True)
        target.chmod(entry.mode & 0o777 | 0o700)
    elif entry.kind == "symlink":
        target.symlink_to(entry.target)
    elif entry.kind in ("file", "hardlink"):
        target.write_bytes(image.read(path))
        os.chmod(target, entry.mode & 0o777)
    else:
        raise ImageNotUnpacked(
            f"{path} cannot be unpacked", f"it is a {entry.kind}", "run the image in an engine"
        )
