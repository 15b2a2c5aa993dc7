"""Images of one small program: `hello-world`, or the course's stand-in; and one for another CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labsupport.engine.images import Image as ImageReader
from labsupport.engine.made_image import make_image
from labsupport.engine.smallest import hello_program
from labsupport.engine.workbench import Workbench

if TYPE_CHECKING:
    from docker.models.images import Image

    from labsupport.engine.client import Engine
    from labsupport.engine.ran import Ran

ELSEWHERE = {"x86_64": ("aarch64", "arm64"), "aarch64": ("x86_64", "amd64")}
"""Another CPU than this one, as Linux names it and as images do."""
REAL, OURS = "hello-world", "labsupport/hello-world:latest"
GREETING = """
Hello from an image of this course.
It shows that your engine works: it found this image, made a container of it,
had the kernel start the one program in it, and handed on what that wrote.
(Docker's own image hello-world says the same; it could not be pulled here.)

"""


@dataclass(frozen=True)
class Hello:
    """A first container: `image` is the name of its image, `files` are those in it, by size."""

    ran: Ran
    image: str
    files: Mapping[str, int]

    def __repr__(self) -> str:
        return repr(self.ran)

    def _repr_html_(self) -> str:
        return self.ran._repr_html_()


def hello_world(engine: Engine) -> Hello:
    """Run `hello-world`: Docker's own if it is here or can be pulled, else the course's.

    One that was pulled for this is removed again.
    """
    name, pulled = _find(engine)
    try:
        with Workbench(engine) as bench:
            ran = bench.run(name)
        with ImageReader.of(engine, name) as image:
            entries = [entry for layer in image.layers for entry in layer.files.values()]
        files = {entry.path: entry.size_bytes for entry in entries if entry.kind == "file"}
        return Hello(ran, name, files)
    finally:
        if pulled:
            engine.client.images.remove(name)


def for_another_cpu(engine: Engine) -> Image:
    """Make an image whose program is for another CPU than this machine has, and which says so."""
    machine, architecture = ELSEWHERE.get(os.uname().machine, ("x86_64", "amd64"))
    program = hello_program(f"Hello from {architecture}.\n", machine)
    name = f"labsupport/hello-{architecture}:latest"
    return make_image(
        engine, name, {"/hello": (program, 0o755)}, architecture=architecture, Cmd=["/hello"]
    )


def _find(engine: Engine) -> tuple[str, bool]:
    from docker.errors import APIError, ImageNotFound

    try:
        engine.client.images.get(REAL)
    except ImageNotFound:
        pass
    else:
        return REAL, False
    if os.environ.get("LAB_IN_VM") != "1":  # there is no way out of the Lab VM
        try:
            engine.client.images.pull(REAL, tag="latest")
        except APIError:  # no network, or a limit: it is no part of the lesson
            pass
        else:
            return REAL, True
    make_image(engine, OURS, {"/hello": (hello_program(GREETING), 0o755)}, Cmd=["/hello"])
    return OURS, False
