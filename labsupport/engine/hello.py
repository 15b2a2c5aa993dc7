"""`docker run hello-world`: the image that proves an installation, or the course's stand-in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labsupport.engine.made_image import make_image
from labsupport.engine.smallest import hello_program
from labsupport.engine.workbench import Workbench

if TYPE_CHECKING:
    from labsupport.engine.client import Engine
    from labsupport.engine.ran import Ran

REAL, OURS = "hello-world", "labsupport/hello-world:latest"
GREETING = """
Hello from an image of this course.
It shows that your engine works: it found this image, made a container of it,
had the kernel start the one program in it, and handed on what that wrote.
(Docker's own image hello-world says the same; it could not be pulled here.)

"""


def hello_world(engine: Engine) -> Ran:
    """Run `hello-world`: Docker's own if it is here or can be pulled, else the course's.

    Which one it was, the result's `command` says. One that was pulled for this is removed again.
    """
    name, pulled = _find(engine)
    try:
        with Workbench(engine) as bench:
            return bench.run(name)
    finally:
        if pulled:
            engine.client.images.remove(name)


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
