"""Run a build through the engine and keep its steps; or read them from a log of one."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.engine.build.context import Files, pack
from labsupport.engine.build.reading import LineReader
from labsupport.engine.build.step import BuildStep as BuildStep
from labsupport.engine.labels import owner_labels
from labsupport.errors import BuildFailed, BuildLogUnreadable

if TYPE_CHECKING:
    from labsupport.engine.client import Engine


@dataclass(frozen=True)
class Build:
    """A build that has ended: its steps in order, and what came of it.

    `seconds` is wall-clock time from the request to the end, `context_bytes` what was sent to the
    engine. `image_id` is that of the image it made.
    """

    steps: tuple[BuildStep, ...]
    image_id: str | None = None
    tag: str | None = None
    seconds: float = 0.0
    context_bytes: int = 0

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
        on_step: Callable[[BuildStep], None] | None = None,
    ) -> Build:
        """Build an image, and wait for it."""
        began = time.monotonic()
        packed = pack(context, dockerfile, {**(labels or {}), **owner_labels()})
        packed.seek(0, 2)
        size = packed.tell()
        packed.seek(0)
        reader = LineReader(on_step)
        events: Any = engine.client.api.build(
            fileobj=packed, custom_context=True, tag=tag, dockerfile=dockerfile,
            buildargs=dict(args or {}), nocache=not cache, network_mode=network,
            rm=True, forcerm=True, decode=True,
        )  # fmt: skip
        image_id = None
        for event in events:
            at = time.monotonic() - began
            if "error" in event:
                reader.finish(at, failed=True)
                code = event.get("errorDetail", {}).get("code")
                raise BuildFailed(event["error"].strip(), reader.steps, code)
            reader.feed(event.get("stream", ""), at)
            image_id = (event.get("aux") or {}).get("ID", image_id)
        seconds = time.monotonic() - began
        reader.finish(seconds)
        sizes = {
            entry["Id"].removeprefix("sha256:")[:12]: entry["Size"]
            for entry in engine.client.api.history(image_id)
        }
        from dataclasses import replace

        steps = tuple(
            replace(step, bytes=sizes.get((step.image_id or "")[:12], 0)) for step in reader.steps
        )
        return cls(steps, image_id, tag, seconds, size)

    @classmethod
    def parse(cls, text: str) -> Build:
        """Read the steps from a log."""
        raise BuildLogUnreadable("this log cannot be read", "not yet")

    @property
    def cached_steps(self) -> tuple[BuildStep, ...]:
        """The steps that took no work: the builder had done the same before."""
        return tuple(step for step in self.steps if step.cached)

    def __repr__(self) -> str:
        return "\n".join(
            [*map(str, self.steps), f"built {self.tag or self.image_id} in {self.seconds:.1f} s"]
        )

    def _repr_html_(self) -> str:
        return f"<pre style='margin:0'>{html.escape(repr(self))}</pre>"
