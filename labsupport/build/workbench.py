"""A place to build images and to run them: what is made on it is marked, and goes with it.

Its names are short (`hello_world_cmd`); the engine knows them as `labsupport/hello_world_cmd`, so
that no image of the student's loses its name. Where two notebooks run at once, each bench runs the
image that was built on it, whichever of them the name belongs to meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.build.bases import base_image
from labsupport.build.build import Build
from labsupport.build.container import Ran, command_line, start_and_end
from labsupport.engine.inventory import Belongings
from labsupport.engine.listing import owner_labels, remove_image
from labsupport.errors import LabError, nearest
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.images import Image

    from labsupport.engine.client import Engine

PATIENCE_SECONDS = 60
NAMESPACE = "labsupport/"


class Workbench(Closing):
    """`with Workbench(engine) as bench:` build and run; at the end all of it is removed.

    `images` maps the names of what was built to image IDs. A name that was not built here is
    looked up in the engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.folder = Path(tempfile.mkdtemp(prefix=marks.prefix("bench")))
        self.images: dict[str, str] = {}
        self._built: list[str] = []
        self._containers: list[Container] = []
        base_image(engine)

    def write(self, name: str, content: str | bytes, *, executable: bool = False) -> Path:
        """Write a file into the folder that builds can copy from; return where it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if executable else 0o644)
        return path

    def build(self, dockerfile: str, tag: str) -> Build:
        """Build the text of a Dockerfile in the bench's folder, and give the image a name.

        Raises `BuildFailed`: an instruction failed; the error names it.
        """
        self.write(f"{tag}.Dockerfile", textwrap.dedent(dockerfile))
        build = Build.run(
            self.engine, self.folder, NAMESPACE + tag, f"{tag}.Dockerfile", network="none"
        )
        if build.image_id:
            self.images[tag] = build.image_id
            self._built.append(build.image_id)
        return build

    def image(self, name: str) -> Image:
        """Return an image by its name on this bench, or in the engine. Raises `LabError`."""
        from docker.errors import ImageNotFound

        try:
            return self.engine.client.images.get(self.images.get(name, name))
        except ImageNotFound:
            why = nearest(name, self.images)
            raise LabError(f"there is no image {name!r}", why, "bench.build(…) makes one") from None

    def create(self, image: str, /, *arguments: str, **options: Any) -> Container:
        """Make a container of an image, without starting it: `docker create IMAGE ARGUMENTS`.

        Options are those of the Docker SDK. Without any it has no network but its own loopback.

        Raises `LabError`: there is no such image; `docker.errors.APIError`: the engine does not
        make it, and says why.
        """
        options = {"network_mode": "none", **options}
        container = self.engine.client.containers.create(
            self.image(image), list(arguments) or None, labels=owner_labels(), **options
        )
        self._containers.append(container)
        return container

    def start(self, image: str, /, *arguments: str, until: str = "", **options: Any) -> Container:
        """Start a container and leave it running: `docker run --detach IMAGE ARGUMENTS`.

        With `until` it has written that text, or has ended, when this returns.
        """
        container = self.create(image, *arguments, **options)
        container.start()
        if until:
            said = b""
            parts: Any = container.logs(stream=True, follow=True)
            with contextlib.closing(parts._response):  # parts.close() leaves its file open
                for part in parts:
                    said += part
                    if until.encode() in said:
                        break
        container.reload()
        return container

    def run(
        self, image: str, /, *arguments: str, patience: float = PATIENCE_SECONDS, **options: Any
    ) -> Ran:
        """Run a container to its end, as `docker run --rm IMAGE ARGUMENTS`; say how it went.

        A container that cannot be started is an outcome, too: it has the status that `docker run`
        would end with.

        Raises `TimedOut`: it did not end within `patience` seconds, and has been removed.
        """
        from docker.errors import APIError

        name = NAMESPACE + image if image in self.images else image
        command = command_line(name, arguments, options)
        began = time.monotonic()
        try:
            container = self.create(image, *arguments, **options)
        except APIError as error:
            return Ran(command, (), "", str(error.explanation), 125, time.monotonic() - began)
        try:
            return start_and_end(container, command, began, patience)
        finally:
            self.remove(container)

    def remove(self, container: Container) -> None:
        """Remove a container, running or not; it may have gone by itself."""
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            container.remove(force=True)
        with contextlib.suppress(ValueError):
            self._containers.remove(container)

    def things(self) -> list[str]:
        """Name what this process has in the engine, by its label."""
        return [str(thing) for thing in Belongings.of(self.engine).mine]

    def close(self) -> None:
        """Remove all that was made here: containers, images, the folder; may be called twice."""
        for container in [*self._containers]:
            self.remove(container)
        for identity in reversed(self._built):
            remove_image(self.engine.client, identity)
        self._built.clear()
        self.images.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        names = ", ".join(self.images) or "nothing yet"
        return f"<workbench of {self.engine.kind} {self.engine.version}: {names}>"
