"""What a builder's frontend, which reads Dockerfiles, knows: found by building.

A newer one could be fetched (`# syntax=docker/dockerfile:1`), but only with a network.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from labsupport.build.build import Build
from labsupport.engine.listing import remove_image
from labsupport.errors import BuildFailed
from labsupport.figure.table import PlainTable
from labsupport.image.image import Image

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

LINES = (
    "COPY --chmod=700 program /made",
    "COPY --link program /made",
    "RUN <<END\ncp /program /made\nchmod 711 /made\nEND",
)


def tried(engine: Engine) -> PlainTable:
    """Build each of the lines, and say what it made of the file, or why it was refused."""
    rows = [(line, *_outcome(engine, line)) for line in LINES]
    works = sum(verdict == "works" for _, verdict, _ in rows)
    finding = f"{works} of {len(rows)} lines are known to this engine's builder"
    return PlainTable(finding, ("line", "verdict", "it says, or has made"), tuple(rows))


def _outcome(engine: Engine, line: str) -> tuple[str, str]:
    text = f"FROM labsupport/busybox\nCOPY program /program\n{line}\n"
    try:
        build = Build.run(engine, {"Dockerfile": text, "program": "exit\n"}, network="none")
    except BuildFailed as failure:
        return "refused", failure.why.rpartition("line ")[2]
    with Image.of(engine, str(build.image_id)) as image:
        mode = image.tree()["/made"].mode
    remove_image(engine.client, str(build.image_id))
    return "works", f"/made is {stat.filemode(stat.S_IFREG | mode)}"
