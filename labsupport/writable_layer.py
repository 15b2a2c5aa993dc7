"""What a container has written: its own layer, over the read-only ones of its image.

The engine tells the changes; where each file really lies, the kernel tells by the mount table of
the container's PID 1. Where that cannot be seen from here, it is said why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport.engine.held import HeldContainer
from labsupport.errors import LabError, LayersOutOfReach
from labsupport.linux.layer_folders import Stack
from labsupport.linux.overlay_mounts import OverlayMount, overlay_of

KINDS = ("changed", "added", "deleted")  # as the engine's API numbers them


@dataclass(frozen=True)
class WritableLayer:
    """A running container's own layer.

    `changes` is {path: "added", "changed" or "deleted"}, as `docker diff` has it. `folder` is where
    its files lie on this machine, `None` if that cannot be seen, and then `why` says why.
    """

    changes: dict[str, str]
    folder: Path | None
    why: str
    _overlay: OverlayMount | None

    @classmethod
    def of(cls, container: HeldContainer) -> WritableLayer:
        """Look at a running container."""
        found: list[dict[str, Any]] = container.container.diff() or []
        changes = {each["Path"]: KINDS[each["Kind"]] for each in found}
        try:
            overlay = _overlay(container)
        except LabError as error:
            return cls(changes, None, f"{error.what}: {error.why}", None)
        return cls(changes, overlay.upper, "", overlay)

    @property
    def lowers(self) -> tuple[Path, ...]:
        """The folders of the read-only layers, the uppermost first."""
        return self._overlay.lowers if self._overlay else ()

    def look(self, *also: str) -> Stack:
        """Tell for each name that was written, and some others, which layer it really lies in.

        Raises:
            LayersOutOfReach: the layers cannot be seen; the message says why.

        """
        if self._overlay is None:
            raise LayersOutOfReach(self.why)
        return self._overlay.look([*self._overlay.written(), *also])

    def names(self) -> dict[str, str]:
        """Call the layers by what they are: Docker puts one of mount points over the image's."""
        names = {"upper": "the container's", "merged": "merged"}
        numbers = range(len(self.lowers), 0, -1)
        image = 0
        for number, folder in sorted(zip(numbers, self.lowers, strict=True)):
            is_init = "-init" in folder.parent.name
            image += not is_init
            names[f"lower {number}"] = "init (mount points)" if is_init else f"image layer {image}"
        return names

    def __repr__(self) -> str:
        where = f"in {self.folder}" if self.folder else f"cannot be seen: {self.why}"
        return f"<a container's own layer, {len(self.changes)} changes, {where}>"


def _overlay(container: HeldContainer) -> OverlayMount:
    overlay = overlay_of(container.pid)
    try:
        if overlay.upper:
            overlay.written()
    except OSError as error:
        raise LayersOutOfReach(f"{error.filename}: {error.strerror}") from error
    return overlay
