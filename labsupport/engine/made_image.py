"""An image out of files that are at hand, put together without a builder: for exercises and errors.

An image is a few tar archives and a JSON file, so it can say what we like: that it is for another
CPU, that its program lies where there is none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labsupport.engine import base_image
from labsupport.engine.labels import owner_labels

if TYPE_CHECKING:
    from docker.models.images import Image

    from labsupport.engine.client import Engine

File = tuple[bytes, int]
"""Content and mode of a file; a mode with no content, `(b"", 0o700)`, is a file, too."""


def make_image(
    engine: Engine,
    tag: str,
    files: Mapping[str, File],
    *,
    architecture: str = "",
    on_busybox: bool = False,
    **config: Any,
) -> Image:
    """Make an image of one layer (or put it on the course's base image), and load it.

    `config` has the settings as images spell them: `Entrypoint=["/app/run"], User="1000"`.
    `architecture` is what it says it is for, by default this machine's: "amd64", "arm64".
    """
    members = {name.lstrip("/"): base_image.a_file(*file) for name, file in files.items()}
    layers = [base_image.pack(members)]
    made_by = [f"COPY {' '.join(files)} /"]
    if on_busybox:
        layers.insert(0, base_image.busybox_layer())
        made_by.insert(0, "ADD rootfs.tar / # the course's busybox")
    machine = os.uname().machine
    settings = {
        "architecture": architecture or base_image.ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": base_image.CREATED,
        "config": {"Env": [f"PATH={base_image.PATH}"], "Labels": owner_labels(), **config},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
        "history": [{"created": base_image.CREATED, "created_by": words} for words in made_by],
    }
    engine.client.images.load(base_image.archive(tag, settings, layers))
    return engine.client.images.get(tag)
