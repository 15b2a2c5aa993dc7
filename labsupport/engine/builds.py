"""Run a build through the engine and keep its steps; or read them from a log of one.

`Build.run` asks for the classic builder or, with `builder="buildkit"`, for BuildKit, both through
the engine's API; Podman has its own. See `labsupport.engine.build.running` for how.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.engine.build import log
from labsupport.engine.build.context import Files
from labsupport.engine.build.running import Order, Running
from labsupport.engine.build.step import BuildStep
from labsupport.errors import StoreChanged

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

__all__ = ["Build", "BuildStep", "Running"]

TRIES = 3  # Podman gives up when another program removes an image that it compares with


@dataclass(frozen=True)
class Build:
    """A build that has ended: its steps in order, and what came of it.

    `image_id` is that of the image it made, `seconds` is wall-clock time from asking the engine to
    its last word, `context_bytes` is what was sent to it (a tar archive). `builder` is "classic",
    "buildkit" or "podman". What a pasted log does not say is None.
    """

    steps: tuple[BuildStep, ...]
    image_id: str | None = None
    tag: str | None = None
    seconds: float | None = None
    context_bytes: int | None = None
    builder: str = "classic"

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
        labels: Mapping[str, str] | None = None,
        network: str | None = None,
        builder: str = "classic",
        on_step: Callable[[BuildStep], None] | None = None,
    ) -> Build:
        """Build an image as `docker build -t TAG -f DOCKERFILE --build-arg … CONTEXT` does.

        `context` is a folder, of which `.dockerignore` leaves out what it names, or a mapping of
        file names to contents (one that begins with `#!` can be executed). `args` are for its
        `ARG`. `cache=False` does every step anew. `network` is that of its `RUN` ("none", "host").
        `builder` is "classic", which makes an image of each step, or "buildkit", which is faster
        (in the Lab VM, by more than three times) and names only the steps that make layers.
        `on_step` is called with a step whenever it begins, prints, or has ended.

        All that is made carries our label, which each `FROM` is followed by; the builder's own
        numbers are those of the Dockerfile without it. An interrupted cell stops the build, and
        nothing that ran is left; finished steps stay in the engine's cache.

        Raises:
            BuildFailed: or one of its kinds: the builder did not come to the end.
            BuilderMissing: the engine has no such builder.
            ContextTooLarge: the context has more than 512 MiB; nothing was sent.
            DockerfileMissing: there is no file `dockerfile` in the context.

        """
        order = Order(context, tag, dockerfile, args or {}, cache, labels or {}, network, builder)
        for _ in range(TRIES - 1):
            try:
                return cls.of(Running(engine, order, on_step))
            except StoreChanged:  # what was done so far comes from the cache
                continue
        return cls.of(Running(engine, order, on_step))

    @classmethod
    def start(cls, engine: Engine, context: str | Path | Files, **options: Any) -> Running:
        """Prepare a build that `Build.of` waits for, and whose `stop()` another thread may call.

        `options` are those of `run`.
        """
        given = {name: value for name, value in options.items() if value is not None}
        on_step = given.pop("on_step", None)
        return Running(engine, Order(context, **given), on_step)

    @classmethod
    def parse(cls, text: str) -> Build:
        """Read a build from what `docker build` or `podman build` printed.

        Knows BuildKit's log on a terminal and its `--progress=plain`, the classic builder's and
        Podman's (buildah's); colours and the times that CI services put before each line may stay.
        A build that failed is read, too: see `failed_step`. None of them says `bytes`, and only
        BuildKit says `seconds`: where it does not for the whole, they are the sum of all it did.

        Raises:
            BuildLogUnreadable: there are no steps in it.

        """
        found = log.read(text)
        return cls(
            tuple(found.steps), found.image_id, found.tag, found.seconds, found.context_bytes,
            found.builder,
        )  # fmt: skip

    @classmethod
    def of(cls, running: Running) -> Build:
        """Wait for a build that another thread may stop; raises what `run` does."""
        outcome = running.wait()
        return cls(
            outcome.steps, outcome.image_id, running.order.tag, outcome.seconds,
            outcome.context_bytes, running.builder,
        )  # fmt: skip

    @property
    def cached_steps(self) -> tuple[BuildStep, ...]:
        """The steps that took no work: the builder had done the same before."""
        return tuple(step for step in self.steps if step.cached)

    @property
    def failed_step(self) -> BuildStep | None:
        """The step that ended the build, in the log of one that failed."""
        return next((step for step in self.steps if step.failed), None)

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.steps), self._ending()])

    def _ending(self) -> str:
        if failed := self.failed_step:
            return f"failed in step {failed.name}"
        after = "" if self.seconds is None else f" in {self.seconds:.1f} s"
        return f"built {self.tag or (self.image_id or 'an image')[:19]}{after}"

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
