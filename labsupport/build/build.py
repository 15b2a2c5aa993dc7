"""Build an image by the command line, and keep what its builder says of each step.

The command is the one that a student types: `docker build`, by BuildKit wherever the command and
the engine have it, else by the classic builder; for Podman, its own builder answers.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import ImageNotFound
from IPython import get_ipython
from IPython.display import DisplayHandle, display

from labsupport.build import log
from labsupport.build.log import BuildKitReader, BuildStep, Reader, StepReader, failure, with_bytes
from labsupport.engine.command_line import Builder, builder_of
from labsupport.engine.listing import image_labels, remove_image
from labsupport.errors import LabError, StoreChanged, nearest
from labsupport.figure.table import PlainTable, amount
from labsupport.ownership import marks

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

__all__ = ["Build", "BuildStep"]

Files = Mapping[str, str | bytes]
QUIET_SECONDS = 3  # then the notebook shows which step a build is at, until it is done
LONGEST = 80  # characters of an instruction that are shown
TRIES = 3  # Podman gives up when another program removes an image that it compares with


@dataclass(frozen=True)
class Build:
    """A build that has ended: its steps in order, and its result.

    `image_id` is that of the image it made, `seconds` is wall-clock time from the command's start
    to its end, `builder` who did it: "BuildKit", "the classic builder" or "Podman".
    """

    steps: tuple[BuildStep, ...]
    image_id: str | None = None
    tag: str = ""
    seconds: float = 0.0
    builder: str = ""

    @classmethod
    def run(
        cls, engine: Engine, context: str | Path | Files, tag: str = "",
        dockerfile: str = "Dockerfile", *, cache: bool = True, network: str = "",
    ) -> Build:  # fmt: skip
        """Build an image as `docker build -t TAG -f DOCKERFILE CONTEXT` does.

        `context` is a folder, of which `.dockerignore` leaves out what it names, or a mapping of
        file names to contents (one that begins with `#!` can be executed). `cache=False` repeats
        every step. `network` is that of its `RUN` ("none", "host").

        The image carries our label. An interrupted cell stops the build and whatever it runs;
        finished steps stay in the builder's cache.

        Raises `BuildFailed`: the builder did not finish; `LabError`: the context has no such
        Dockerfile, or there is no command `docker`.
        """
        builder = builder_of(engine)
        stages = log.stages(_read_dockerfile(context, dockerfile))
        options = [
            *(f"--label={name}={text}" for name, text in image_labels().items()),
            *([f"--tag={tag}"] if tag else []),
            *([f"--network={network}"] if network else []),
            *([] if cache else ["--no-cache"]),
        ]  # fmt: skip
        with _in_folder(context) as folder:
            arguments = [*options, f"--file={folder / dockerfile}", str(folder)]
            for _ in range(TRIES - 1):
                with suppress(StoreChanged):  # what was done so far comes from the cache
                    return _once(engine, builder, stages, arguments, tag)
            return _once(engine, builder, stages, arguments, tag)

    @classmethod
    def read(cls, engine: Engine, said: str, image: str) -> Build:
        """Read what `docker build` has said, typed in a cell; `image` is what it has made.

        The seconds are BuildKit's own; other builders tell none. Raises `BuildFailed`.
        """
        kind: type[Reader] = BuildKitReader if said.startswith("#") else StepReader
        reader = kind(())
        for line in said.splitlines():
            reader.take(line, 0.0)
        api, identity = engine.client.api, "no such image"
        with suppress(ImageNotFound):
            identity = str(api.inspect_image(image)["Id"])
        failed = identity.removeprefix("sha256:")[:12] not in said  # an older one has the name
        reader.finish(0.0, failed=failed)
        if failed:
            raise failure(reader.last_words, reader.steps)
        steps = tuple(with_bytes(api, reader.steps, identity))
        name = "BuildKit" if isinstance(reader, BuildKitReader) else "the classic builder"
        return cls(steps, identity, image, sum(step.seconds or 0 for step in steps), name)

    @property
    def cached_steps(self) -> tuple[BuildStep, ...]:
        """The steps that took no work: the builder had done the same before."""
        return tuple(step for step in self.steps if step.cached)

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.steps), self._ending()])

    def _ending(self) -> str:
        by = f" by {self.builder}" if self.builder else ""
        return f"built {self.tag or (self.image_id or 'an image')[:19]} in {self.seconds:.1f} s{by}"

    def _repr_html_(self) -> str:
        head = ("step", "instruction", "seconds", "added")
        return PlainTable(self._ending(), head, tuple(map(_row, self.steps)))._repr_html_()


def _row(step: BuildStep) -> tuple[str, ...]:
    seconds = "" if step.seconds is None else f"{step.seconds:.1f}"
    added = "" if step.bytes is None else amount(step.bytes)
    return step.name, _short(step.instruction), "CACHED" if step.cached else seconds, added


def _short(instruction: str) -> str:
    return instruction if len(instruction) <= LONGEST else f"{instruction[: LONGEST - 1]}…"


# --- the context: the files that a build may use -------------------------------------------------


def _read_dockerfile(context: str | Path | Files, name: str) -> str:
    if isinstance(context, Mapping):
        if name not in context:
            raise _no_dockerfile(name, "the mapping", nearest(name, context))
        text = context[name]
        return text if isinstance(text, str) else text.decode(errors="replace")
    folder = Path(context)
    if not folder.is_dir():
        raise _no_dockerfile(name, str(folder), "there is no such folder")
    if not (folder / name).is_file():
        there = nearest(name, (path.name for path in folder.iterdir()))
        raise _no_dockerfile(name, str(folder), there)
    return (folder / name).read_text(errors="replace")


def _no_dockerfile(name: str, where: str, why: str) -> LabError:
    remedy = 'name it as it is called in the context: dockerfile="…"'
    return LabError(f"there is no {name} in {where}", why, remedy)


@contextmanager
def _in_folder(context: str | Path | Files) -> Iterator[Path]:
    """Write the files of a mapping into a folder, for a while."""
    if not isinstance(context, Mapping):
        yield Path(context)
        return
    with tempfile.TemporaryDirectory(prefix=marks.prefix("context")) as folder:
        for name, content in context.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(data)
            path.chmod(0o755 if data.startswith(b"#!") else 0o644)
        yield Path(folder)


# --- the command ---------------------------------------------------------------------------------


def _once(
    engine: Engine, builder: Builder, stages: Sequence[str], arguments: Sequence[str], tag: str
) -> Build:
    reader: Reader = (BuildKitReader if builder.is_buildkit else StepReader)(stages)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=marks.prefix("build")) as scratch:
        image_file = Path(scratch, "image")
        status = _hear(builder, reader, [f"--iidfile={image_file}", *arguments], began)
        image_id = image_file.read_text() if image_file.exists() else ""
    seconds = time.monotonic() - began
    steps = tuple(with_bytes(engine.client.api, reader.steps, image_id or None))
    if status or not image_id:
        for step in reversed(steps):  # their images carry no label; the newest goes first
            if step.image_id and step.keyword != "FROM":
                remove_image(engine.client, step.image_id)
        raise failure(reader.last_words, steps)
    return Build(steps, image_id, tag, seconds, builder.name)


def _hear(builder: Builder, reader: Reader, arguments: Sequence[str], began: float) -> int:
    """Run the command, and hear what it says; whatever it starts ends with it."""
    process = subprocess.Popen(
        [*marks.reaping(), "--", *builder.command, *arguments],
        env={**os.environ, **builder.environment}, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )  # fmt: skip
    shown = None
    with process:
        try:
            for line in process.stdout or ():
                reader.take(line.rstrip("\n"), seconds := time.monotonic() - began)
                if seconds > QUIET_SECONDS and reader.steps:
                    shown = _tell(shown, reader.steps[-1], seconds)
        finally:
            if shown:
                shown.update({}, raw=True)
            process.communicate()  # the end of its input is the end of what still runs
            reader.finish(time.monotonic() - began, failed=process.returncode != 0)
    return process.returncode


def _tell(shown: DisplayHandle | None, step: BuildStep, seconds: float) -> DisplayHandle | None:
    """Say in the notebook what a long build is at."""
    if not (shown or get_ipython()):
        return None
    shown = shown or display({}, raw=True, display_id=True)
    shown.update({"text/plain": f"building, {seconds:.0f} s: {_short(step.instruction)}"}, raw=True)
    return shown
