"""How many bytes of layers an engine keeps, each layer counted once, as the engine itself says.

Docker answers `docker system df`. Podman's answer to the same question is 0, but its store keeps a
list: `overlay-layers/layers.json` of github.com/containers/storage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.errors import LayersOutOfReach

if TYPE_CHECKING:
    from labsupport.engine.client import Engine


def stored_bytes(engine: Engine) -> int:
    """Return the bytes of all layers in the engine's store.

    With the storage driver vfs the disk holds more: there each layer is a copy of all below it.

    Raises:
        LayersOutOfReach: Podman's list cannot be read: its store is on another machine, or somebody
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
        raise LayersOutOfReach(f"{book}: {error.strerror}") from error
