"""An image's archive out of steps, without a builder: each a layer of files, or of whiteouts.

What an engine or `Image.open` makes of it is the same as of an image that was built so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from labsupport.engine import base_image

Step = tuple[str, Mapping[str, str]]
"""An instruction, and the files of its layer: {path without a leading slash: text}."""


def copy(path: str, text: str) -> Step:
    """Bring a file, as `COPY` does."""
    return f"COPY {PurePosixPath(path).name} /{path}", {path: text}


def remove(*paths: str) -> Step:
    """Delete files of the layers below, as `RUN rm` does: by whiteouts, which are empty files."""
    marks = {
        str(PurePosixPath(path).with_name(f".wh.{PurePosixPath(path).name}")) for path in paths
    }
    return f"RUN rm {' '.join(f'/{path}' for path in paths)}", dict.fromkeys(marks, "")


def archive(tag: str, steps: Iterable[Step]) -> bytes:
    """Pack an image as `docker save` would: the course's busybox, and a layer of each step on it.

    Raises `BaseFilesMissing` if there is no busybox.
    """
    layers, made_by = [base_image.busybox_layer()], ["ADD rootfs.tar / # the course's busybox"]
    for instruction, files in steps:
        members = {path: base_image.a_file(text.encode()) for path, text in files.items()}
        layers.append(base_image.pack(members))
        made_by.append(instruction)
    machine = os.uname().machine
    settings = {
        "architecture": base_image.ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": base_image.CREATED,
        "config": {"Env": [f"PATH={base_image.PATH}"], "Cmd": ["sh"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
        "history": [{"created": base_image.CREATED, "created_by": words} for words in made_by],
    }
    return base_image.archive(tag, settings, layers)
