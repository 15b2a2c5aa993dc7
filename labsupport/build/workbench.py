"""A place to build images and to run them: what is made on it is marked, and goes with it.

Its names are short (`hello_world_cmd`); the engine knows them as `labsupport/hello_world_cmd`, so
that no image of the student's loses its name. Where two notebooks run at once, each bench runs the
image that was built on it, whichever of them the name belongs to meanwhile.
"""

import contextlib
import shlex
import shutil
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound
from docker.models.containers import Container
from docker.models.images import Image

from labsupport.build.bases import base_image
from labsupport.build.build import Build
from labsupport.build.container import Ran, command_line, start_and_end
from labsupport.engine.client import Engine
from labsupport.engine.daemon import PATIENCE
from labsupport.engine.listing import Belongings, owner_labels, remove, remove_image
from labsupport.errors import LabError, nearest
from labsupport.figure.table import PlainTable
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing

PATIENCE_SECONDS = 60 * PATIENCE
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
        file, name = f"{tag}.Dockerfile", NAMESPACE + tag
        build = Build.run(self.engine, self.folder, name, file, network="none")
        if build.image_id:
            self.images[tag] = build.image_id
            self._built.append(build.image_id)
        return build

    def image(self, name: str) -> Image:
        """Return an image by its name on this bench, or in the engine. Raises `LabError`."""
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
        remove(container, force=True)
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


# --- what finally runs: every form of ENTRYPOINT with every form of CMD, built and run ------------


# says what it was given, which process it is, and who PID 1 is
GREET = """#!/bin/sh
echo "$*"
echo "PID $$, and PID 1 is $(cat /proc/1/comm)" >&2
"""
BASE = "greet"
ENTRYPOINTS = ("", 'ENTRYPOINT ["greet", "Hello"]', "ENTRYPOINT greet Hello")
CMDS = ('CMD ["world"]', "CMD world")
ARGUMENT = "Pavlos"


@dataclass(frozen=True)
class Start:
    """One way to write it, and its outcome.

    `entrypoint` and `cmd` are lines of the Dockerfile, `arguments` came after the image's name.
    `first` is the name of PID 1 in the container; empty if our program never ran.
    """

    entrypoint: str
    cmd: str
    arguments: tuple[str, ...]
    ran: Ran
    first: str

    @property
    def said(self) -> str:
        """What was printed; or, if our program did not run, why."""
        if self.first:
            return self.ran.output.strip()
        last = (self.ran.said.splitlines() or ["nothing"])[-1]
        return last.rpartition("exec: ")[2].removesuffix(": unknown")

    def __repr__(self) -> str:
        lines = ", ".join(part for part in (self.entrypoint, self.cmd, *self.arguments) if part)
        return f"<{lines}: {self.said!r}, status {self.ran.status}>"


def form(line: str) -> str:
    """Which form an instruction has: `exec`, `shell` or, without one, `none`."""
    words = line.partition(" ")[2]
    return "exec" if words.startswith("[") else "shell" if words else "none"


def try_starts(bench: Workbench, entrypoint: str) -> list[Start]:
    """Build an image with each CMD and run it; and the first of them with an argument, too."""
    # without a network of its own it starts in two thirds of the time, and greet needs none
    return [
        try_start(bench, entrypoint, cmd, *arguments, network="host")
        for cmd, arguments in (*((cmd, ()) for cmd in CMDS), (CMDS[0], (ARGUMENT,)))
    ]


def try_start(
    bench: Workbench, entrypoint: str, cmd: str, *arguments: str, network: str = "none"
) -> Start:
    """Build an image of two lines at most, unless it is there already, and run it.

    Raises `TimedOut`: the program did not end within a minute.
    """
    if BASE not in bench.images:
        bench.write("greet", GREET, executable=True)
        bench.build("FROM labsupport/busybox\nCOPY greet /usr/local/bin/\n", BASE)
    name = "-".join(["greet", form(entrypoint), form(cmd)])
    if name not in bench.images:
        bench.build("\n".join([f"FROM labsupport/{BASE}", entrypoint, cmd, ""]), name)
    ran = bench.run(name, *arguments, network_mode=network)
    return Start(entrypoint, cmd, arguments, ran, ran.errors.partition("PID 1 is ")[2].strip())


def outcomes(starts: Sequence[Start]) -> PlainTable:
    """Return a row for each start: what was written, what was started, what came of it."""
    failed = sum(each.ran.status != 0 for each in starts)
    head = ("ENTRYPOINT", "CMD", "arguments", "is started", "says", "exit status", "PID 1 is")
    return PlainTable(
        f"{len(starts)} ways to start a program; {failed} fail", head, tuple(map(_row, starts))
    )


def _row(each: Start) -> tuple[str, ...]:
    written = (each.entrypoint.partition(" ")[2], each.cmd.partition(" ")[2])
    started = f"`{shlex.join(each.ran.argv)}`"
    return (
        *(f"`{line}`" if line else "none" for line in written), " ".join(each.arguments),
        started, each.said, str(each.ran.status), each.first or "nobody",
    )  # fmt: skip
