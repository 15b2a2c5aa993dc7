"""A place to build images and to run them: whatever is made on it is marked, and goes with it.

Its names are short (`hello_world_cmd`); the engine knows them as `labsupport/hello_world_cmd`, so
that no image of the student's loses its name. And who runs two notebooks at once has two of them:
each bench runs the image that was built on it, whoever has the name meanwhile.
"""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.closing import Closing
from labsupport.engine import built, listing
from labsupport.engine.bench_folder import BenchFolder
from labsupport.engine.builds import Build
from labsupport.engine.labels import as_filter, owner_labels
from labsupport.engine.ran import Ran
from labsupport.engine.running import command_line, ended, start_and_end
from labsupport.errors import BuildFailed, NotOnThisBench, nearest

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.images import Image

    from labsupport.engine.build.step import BuildStep
    from labsupport.engine.client import Engine

PATIENCE_SECONDS = 60
NAMESPACE = "labsupport/"


class Workbench(BenchFolder, Closing):
    """`with Workbench(engine) as bench:` build and run; in the end all of it is removed.

    `images` maps the names of what was built to image IDs. A name that was not built here is
    looked up in the engine.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.images: dict[str, str] = {}
        self._built: list[str] = []
        self._containers: list[Container] = []
        engine.base_image()

    def build(
        self, dockerfile: str, tag: str, *, on_step: Callable[[BuildStep], None] | None = None
    ) -> Build:
        """Build the text of a Dockerfile in the bench's folder, and give the image a name.

        Raises:
            BuildFailed: an instruction failed; the error names it.

        """
        self.write(f"{tag}.Dockerfile", textwrap.dedent(dockerfile))
        try:
            build = Build.run(
                self.engine, self.folder, NAMESPACE + tag, f"{tag}.Dockerfile", network="none",
                on_step=on_step,
            )  # fmt: skip
        except BuildFailed:
            built.remove_nameless(self.engine.client)
            raise
        if build.image_id:
            self.images[tag] = build.image_id
            self._built.append(build.image_id)
            built.IN_USE.add(build.image_id)
        return build

    def image(self, name: str) -> Image:
        """Return an image by its name on this bench, or in the engine.

        Raises:
            NotOnThisBench: there is none of that name.

        """
        from docker.errors import ImageNotFound

        try:
            return self.engine.client.images.get(self.images.get(name, name))
        except ImageNotFound:
            raise NotOnThisBench(
                f"there is no image {name!r}",
                nearest(name, self.images),
                "bench.build(…) makes one",
            ) from None

    def create(self, image: str, /, *arguments: str, **options: Any) -> Container:
        """Make a container of an image, without starting it: `docker create IMAGE ARGUMENTS`.

        Options are those of the Docker SDK. Without any it has no network but its own loopback.

        Raises:
            NotOnThisBench: there is no such image.
            docker.errors.APIError: the engine does not make it, and says why.

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
            for part in container.logs(stream=True, follow=True):
                said += part
                if until.encode() in said:
                    break
        container.reload()
        return container

    def stop(self, container: Container, seconds: int = 2) -> Ran:
        """Ask a container to end (SIGTERM), kill it if it has not after so many seconds.

        What it wrote, its exit status, and how long that took; then it is removed. Docker waits ten
        seconds unless it is told otherwise.
        """
        command = f"docker stop --time {seconds} {container.name}"
        began = time.monotonic()
        container.stop(timeout=seconds)
        took = time.monotonic() - began
        done = ended(container, command, began, PATIENCE_SECONDS)
        self.remove(container)
        return replace(done, seconds=took)

    def run(
        self, image: str, /, *arguments: str, patience: float = PATIENCE_SECONDS, **options: Any
    ) -> Ran:
        """Run a container to its end, as `docker run --rm IMAGE ARGUMENTS`; say how it went.

        A container that cannot be started is an outcome, too: it has the status that `docker run`
        would end with.

        Raises:
            TimedOut: it did not end within `patience` seconds, and has been removed.

        """
        from docker.errors import APIError

        command = command_line(image, arguments, options)
        began = time.monotonic()
        try:
            container = self.create(image, *arguments, **options)
        except APIError as error:
            return Ran(command, (), "", str(error.explanation), 125, time.monotonic() - began)
        try:
            return start_and_end(container, command, began, patience)
        finally:
            self.remove(container)

    def save(self, name: str) -> Path:
        """Write an image into an archive in the bench's folder: `docker save -o NAME.tar NAME`."""
        path = self.folder / f"{name}.tar"
        image, full = self.image(name), f"{NAMESPACE}{name}:latest"
        with path.open("wb") as file:
            for chunk in image.save(named=full if full in image.tags else False):
                file.write(chunk)
        return path

    def remove(self, container: Container) -> None:
        """Remove a container, running or not; it may have gone by itself."""
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            container.remove(force=True)
        with contextlib.suppress(ValueError):
            self._containers.remove(container)

    def things(self) -> list[str]:
        """Name what this process has in the engine, by its label: containers and images."""
        mine = as_filter(owner_labels())
        client = self.engine.client
        containers = listing.containers(client, all=True, filters=mine)
        images = listing.images(client, all=True, filters=mine)
        return [
            *(f"container {each.name}" for each in containers),
            *(f"image {listing.first_name(each)}" for each in images),
        ]

    def close(self) -> None:
        """Remove all that was made here: containers, images, the folder; may be called twice."""
        for container in [*self._containers]:
            self.remove(container)
        if mine := set(self._built):
            self._built.clear()
            built.remove(self.engine.client, mine)
            built.remove_nameless(self.engine.client)  # Podman's steps know no parents
        self.images.clear()
        self.remove_folder()

    def __repr__(self) -> str:
        names = ", ".join(self.images) or "nothing yet"
        return f"<workbench of {self.engine.kind} {self.engine.version}: {names}>"
