"""What an engine keeps of images and containers on its disk.

A running container has a writable layer of its own over the read-only ones of its image. The engine
tells the changes; where each file really lies, the kernel tells in the mount table of the
container's PID 1. Where that cannot be seen from here, it is said why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.build.container import Container
from labsupport.errors import LabError
from labsupport.figure.table import PlainTable
from labsupport.mount.overlay import OverlayMount, Stack, overlay_of

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

KINDS = ("changed", "added", "deleted")  # as the engine's API numbers them


@dataclass(frozen=True)
class WritableLayer:
    """A running container's own layer.

    `changes` is {path: "added", "changed" or "deleted"}, as `docker diff` has it. `folder` is where
    its files are on this machine, `None` if that cannot be seen, and then `why` says why.
    """

    changes: dict[str, str]
    folder: Path | None
    why: str
    _overlay: OverlayMount | None

    @classmethod
    def of(cls, container: Container) -> WritableLayer:
        """Look at a running container."""
        found: list[dict[str, Any]] = container.container.diff() or []
        changes = {each["Path"]: KINDS[each["Kind"]] for each in found}
        if not container.is_here:
            return cls(changes, None, "the engine runs its containers on another kernel", None)
        try:
            overlay = overlay_of(container.pid)
            overlay.written()  # is it ours to look into?
        except LabError as error:
            return cls(changes, None, f"{error.what}: {error.why}", None)
        except OSError as error:
            return cls(changes, None, f"{error.filename}: {error.strerror}", None)
        return cls(changes, overlay.upper, "", overlay)

    @property
    def lowers(self) -> tuple[Path, ...]:
        """The folders of the read-only layers, the uppermost first."""
        return self._overlay.lowers if self._overlay else ()

    def look(self, *also: str) -> Stack:
        """Tell for each name that was written, and some others, which layer it really lies in.

        Raises `LabError`: the layers cannot be seen; the message says why.
        """
        if self._overlay is None:
            raise _out_of_reach(self.why)
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

    def show(self, *also: str) -> None:
        """Show where each name that it has written really lies, and some others (`also`).

        Where the layers cannot be seen, it is the list of what the engine tells.
        """
        from IPython.display import display

        if self.folder is None:
            display(self.table)
            return
        stack = self.look(*also)
        chosen = [path.strip("/") for path in also]
        stack.show([*chosen, *(each for each in stack.paths() if each not in chosen)], self.names())

    @property
    def table(self) -> PlainTable:
        """What the engine says about the changes."""
        why = f"Its layers cannot be seen ({self.why}). " if self.why else ""
        rows = tuple((what, path) for path, what in sorted(self.changes.items()))
        return PlainTable(f"{why}The engine tells what it changed:", ("change", "path"), rows)

    def __repr__(self) -> str:
        where = f"in {self.folder}" if self.folder else f"cannot be seen: {self.why}"
        return f"<a container's own layer, {len(self.changes)} changes, {where}>"


def stored_bytes(engine: Engine) -> int:
    """Return the bytes of all layers in the engine's store, each layer counted once.

    Docker answers `docker system df`. Podman's answer to the same question is 0, but its store
    keeps a list: `overlay-layers/layers.json` of github.com/containers/storage. With the storage
    driver vfs the disk holds more: there each layer is a copy of all below it.

    Raises `LabError`: Podman's list cannot be read: its store is on another machine, or somebody
    else's.
    """
    told: Any = engine.client.df()
    if told["LayersSize"]:
        return int(told["LayersSize"])
    info: Any = engine.client.info()
    book = Path(info["DockerRootDir"]) / f"{info['Driver']}-layers" / "layers.json"
    try:
        return sum(int(layer.get("diff-size") or 0) for layer in json.loads(book.read_text()))
    except OSError as error:
        raise _out_of_reach(f"{book}: {error.strerror}") from error


def _out_of_reach(why: str) -> LabError:
    return LabError("the container's layers cannot be seen", why, "choose the kernel “Lab VM”")
