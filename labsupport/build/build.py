"""Build an image by the command line, and keep what its builder says of each step.

The command is the one that a student types: `docker build`, by BuildKit wherever the command and
the engine have it, else by the classic builder; for Podman, its own builder answers.
"""

from __future__ import annotations

import html
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport.build import log
from labsupport.build.log import BuildKitReader, BuildStep, Reader, StepReader, failure, with_bytes
from labsupport.engine.command_line import Builder, builder_of
from labsupport.engine.listing import image_labels, remove_image
from labsupport.errors import BuildFailed, LabError, StoreChanged, nearest
from labsupport.ownership import marks

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

__all__ = ["Build", "BuildStep", "Order", "Running"]

Files = Mapping[str, str | bytes]
TRIES = 3  # Podman gives up when another program removes an image that it compares with


@dataclass(frozen=True)
class Build:
    """A build that has ended: its steps in order, and its result.

    `image_id` is that of the image it made, `seconds` is wall-clock time from the command's start
    to its end, `builder` who did it: "BuildKit", "the classic builder" or "Podman".
    """

    steps: tuple[BuildStep, ...]
    image_id: str | None = None
    tag: str | None = None
    seconds: float = 0.0
    builder: str = ""

    @classmethod
    def run(
        cls,
        engine: Engine,
        context: str | Path | Files,
        tag: str | None = None,
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        *,
        cache: bool = True,
        network: str | None = None,
        classic: bool = False,
    ) -> Build:
        """Build an image as `docker build -t TAG -f DOCKERFILE --build-arg … CONTEXT` does.

        `context` is a folder, of which `.dockerignore` leaves out what it names, or a mapping of
        file names to contents (one that begins with `#!` can be executed). `args` are for its
        `ARG`. `cache=False` repeats every step. `network` is that of its `RUN` ("none", "host").
        `classic` asks for the classic builder, which keeps an image of each step.

        The image carries our label. An interrupted cell stops the build and whatever it runs;
        finished steps stay in the builder's cache.

        Raises `BuildFailed`: the builder did not finish; `LabError`: the context has no such
        Dockerfile, or there is no command `docker`.
        """
        order = Order(context, tag, dockerfile, args or {}, cache, network, classic)
        for _ in range(TRIES - 1):
            try:
                return Running(engine, order).wait()
            except StoreChanged:  # what was done so far comes from the cache
                continue
        return Running(engine, order).wait()

    @classmethod
    def read(cls, engine: Engine, said: str, image: str, dockerfile: str = "") -> Build:
        """Read what `docker build` has said, typed in a cell; `image` is what it has made.

        `dockerfile` is the text, by which stages are put in order. The seconds are BuildKit's own;
        other builders tell none.
        """
        kind: type[Reader] = BuildKitReader if said.startswith("#") else StepReader
        reader = kind(log.stages(dockerfile))
        for line in said.splitlines():
            reader.take(line, 0.0)
        reader.finish(0.0)
        api = engine.client.api
        identity = str(api.inspect_image(image)["Id"])
        steps = tuple(with_bytes(api, reader.steps, identity))
        name = "BuildKit" if isinstance(reader, BuildKitReader) else "the classic builder"
        return cls(steps, identity, image, sum(step.seconds or 0 for step in steps), name)

    @property
    def cached_steps(self) -> tuple[BuildStep, ...]:
        """The steps that took no work: the builder had done the same before."""
        return tuple(step for step in self.steps if step.cached)

    @property
    def failed_step(self) -> BuildStep | None:
        """The step at which the build failed; None if it did not."""
        return next((step for step in self.steps if step.failed), None)

    def show(self, after: Build | None = None) -> None:
        """Show it, or next to an earlier build, with what it took from the cache."""
        from labsupport.build import chart

        chart.show(*([after] if after else []), self)

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.steps), self._ending()])

    def _ending(self) -> str:
        by = f" by {self.builder}" if self.builder else ""
        if failed := self.failed_step:
            return f"failed in step {failed.name}{by}"
        return f"built {self.tag or (self.image_id or 'an image')[:19]} in {self.seconds:.1f} s{by}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(step.name)}</td>"
            f"<td style='text-align:left'><code>{html.escape(_short(step.instruction))}</code></td>"
            f"<td>{_seconds(step)}</td><td>{_bytes(step.bytes)}</td></tr>"
            for step in self.steps
        )
        return (
            "<table><thead><tr><th>step</th><th style='text-align:left'>instruction</th>"
            f"<th>seconds</th><th>bytes added</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{html.escape(self._ending())}</p>"
        )


def _short(instruction: str, most: int = 80) -> str:
    return instruction if len(instruction) <= most else f"{instruction[: most - 1]}…"


def _seconds(step: BuildStep) -> str:
    if step.failed:
        return "FAILED"
    return "CACHED" if step.cached else "" if step.seconds is None else f"{step.seconds:.1f}"


def _bytes(amount: int | None) -> str:
    return "" if amount is None else f"{amount:,}".replace(",", " ")


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
def _in_folder(files: Files) -> Iterator[Path]:
    """Write the files of a mapping into a folder, for a while."""
    with tempfile.TemporaryDirectory(prefix=marks.prefix("context")) as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(data)
            path.chmod(0o755 if data.startswith(b"#!") else 0o644)
        yield Path(folder)


# --- a build that is under way -------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """What is to be built; the words are those of `Build.run`."""

    context: str | Path | Files
    tag: str | None = None
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)
    cache: bool = True
    network: str | None = None
    classic: bool = False

    def options(self, image_file: Path, folder: Path) -> list[str]:
        """Return the options of `docker build`, and of `podman build`."""
        return [
            f"--iidfile={image_file}", f"--file={folder / self.dockerfile}",
            *(f"--label={name}={text}" for name, text in image_labels().items()),
            *(f"--build-arg={name}={text}" for name, text in self.args.items()),
            *([f"--tag={self.tag}"] if self.tag else []),
            *([f"--network={self.network}"] if self.network else []),
            *([] if self.cache else ["--no-cache"]),
        ]  # fmt: skip


class Running:
    """A build that `wait()` runs to its end, and `stop()` ends from another thread."""

    def __init__(self, engine: Engine, order: Order) -> None:
        self.order = order
        self._engine = engine
        self._builder: Builder = builder_of(engine, classic=order.classic)
        stages = log.stages(_read_dockerfile(order.context, order.dockerfile))
        self._reader: Reader = (BuildKitReader if self._builder.is_buildkit else StepReader)(stages)
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        self._began = 0.0

    @property
    def steps(self) -> tuple[BuildStep, ...]:
        """The steps so far."""
        return tuple(self._reader.steps)

    @property
    def seconds(self) -> float:
        """Wall-clock time since the command was started."""
        return time.monotonic() - self._began if self._began else 0.0

    def stop(self) -> None:
        """End the build from another thread: `wait` raises `BuildFailed`. May be called twice."""
        self._is_stopped = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def wait(self) -> Build:
        """Build, and return when there is an image; raises what `Build.run` does."""
        context = self.order.context
        with (
            (
                _in_folder(context) if isinstance(context, Mapping) else nullcontext(Path(context))
            ) as folder,
            tempfile.TemporaryDirectory(prefix=marks.prefix("build")) as scratch,
        ):
            image_file = Path(scratch, "image")
            status = self._run([*self.order.options(image_file, folder), str(folder)])
            made = image_file.read_text() if image_file.exists() else ""
        if self._is_stopped:
            raise self._stopped()
        return self._done(status, made)

    def _run(self, arguments: list[str]) -> int:
        """Run the command, and hear what it says; whatever it starts ends with it."""
        if self._is_stopped:
            raise self._stopped()
        self._began = time.monotonic()
        self._process = process = subprocess.Popen(
            [*marks.reaping(), "--", *self._builder.command, *arguments],
            env={**os.environ, **self._builder.environment}, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
        with process:
            try:
                for line in process.stdout or ():
                    self._reader.take(line.rstrip("\n"), self.seconds)
            except BaseException:  # an interrupted cell
                self._is_stopped = True
                raise
            finally:
                process.communicate()  # the end of its input is the end of what still runs
                self._reader.finish(self.seconds, failed=process.returncode != 0)
        return process.returncode

    def _stopped(self) -> BuildFailed:
        return BuildFailed(
            "somebody asked for it",
            self.steps,
            self.steps[-1] if self.steps else None,
            what="the build was stopped",
            remedy="run it again: what was finished comes from the cache",
        )

    def _done(self, status: int, image_id: str) -> Build:
        steps = tuple(with_bytes(self._engine.client.api, self.steps, image_id or None))
        if status or not image_id:
            self._remove_steps()
            raise failure(self._reader.last_words, steps)
        name = self._builder.name
        return Build(steps, image_id, self.order.tag, self.seconds, name)

    def _remove_steps(self) -> None:
        """Remove the images of a failed build's steps, which carry no label, the newest first."""
        for step in reversed(self.steps):
            if step.image_id and step.keyword != "FROM":
                remove_image(self._engine.client, step.image_id)
