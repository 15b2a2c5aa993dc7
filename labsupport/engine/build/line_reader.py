"""Read what the classic builder and Podman's write while they build, line by line.

The classic builder: `Step 2/4 : RUN …`, ` ---> Running in 5f…`, ` ---> Using cache`, ` ---> 9a…`.
Podman's (buildah): `[1/2] STEP 2/4: RUN …`, `--> Using cache 9a…`, `--> 9a…`, `[2/2] COMMIT …`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from labsupport.engine.build.step import BuildStep, longer, stage_name
from labsupport.engine.labels import OWNER

OnStep = Callable[[BuildStep], None]
STEP = re.compile(r"\s*(?:\[\d+/\d+\] )?(?:Step|(STEP)) (\d+)(?:/(\d+))? ?: ?(.*)")
_BEGINS_ANEW = re.compile(r"(FROM|ARG)\s", re.IGNORECASE)
_IMAGE = re.compile(r"\s*--?-> (Using cache ?)?([0-9a-f]{11,64})?\s*$")
_CONTAINER = re.compile(r"\s*---> Running in ([0-9a-f]{12})\s*$")
_SAID = re.compile(
    r"\s*((Removing|---> Removed) intermediate container [0-9a-f]{12}"
    r"|Successfully (built|tagged) .*|(\[\d+/\d+\] )?COMMIT( .*)?|[0-9a-f]{64})\s*$"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class LineReader:
    """Makes steps of the lines; calls `on_step` whenever one begins, prints or has ended.

    `stages` says how many `FROM` the Dockerfile has, `is_marked` that each is followed by a `LABEL`
    of ours, which is no step of the student's.
    """

    def __init__(
        self, stages: int, on_step: OnStep | None = None, *, is_marked: bool = False
    ) -> None:
        self.steps: list[BuildStep] = []
        self.image_id: str | None = None
        self.container: str | None = None
        self._stages, self._on_step, self._is_marked = stages, on_step, is_marked
        self._began: float | None = 0.0
        self._last = self._hidden = 0
        self._stage, self._stage_name = -1, ""
        self._is_open = self._is_label = False
        self._rest = ""

    def take(self, event: Mapping[str, Any], at_seconds: float) -> None:
        """Take an event of the engine's answer to `POST /build`."""
        self.feed(event.get("stream", ""), at_seconds)
        if "status" in event and not event.get("progressDetail"):  # of a pull
            said = f"{event['id']}: {event['status']}" if "id" in event else event["status"]
            self.feed(f"{said}\n", at_seconds)
        self.image_id = (event.get("aux") or {}).get("ID", self.image_id)

    def feed(self, text: str, at_seconds: float | None) -> None:
        """Take a text as it came at a moment (None: unknown); it may end within a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(_COLOUR.sub("", line).rstrip("\r"), at_seconds)

    def finish(self, at_seconds: float | None, *, failed: bool = False) -> None:
        """Take note that nothing more comes."""
        self.feed("\n" if self._rest else "", at_seconds)
        self._end(at_seconds, failed=failed)

    def _line(self, line: str, at: float | None) -> None:
        found = STEP.match(line)
        if found and self._is_next(found):
            self._end(at)
            self._begin(found, at)
        elif self._is_label:
            self._labelled(line)
        elif not self._is_open or not line:
            return
        elif running := _CONTAINER.match(line):
            self.container = running[1]
        elif image := _IMAGE.match(line):
            self._made(image[2], cached=bool(image[1]))
        elif not _SAID.match(line):
            self._change(output=longer(self.steps[-1].output, f"{line}\n"))

    def _is_next(self, found: re.Match[str]) -> bool:
        """Tell a step from what a program prints, which may look like one but for its number."""
        number = int(found[2])
        is_anew = bool(found[1]) and number == 1 and bool(_BEGINS_ANEW.match(found[4]))
        return number == self._last + 1 or is_anew or not self.steps

    def _begin(self, found: re.Match[str], at: float | None) -> None:
        number, total, instruction = int(found[2]), int(found[3] or 0), found[4].strip()
        self._last, self._began, self.container = number, at, None
        if instruction.upper().startswith("FROM "):
            self._stage += 1
            self._stage_name = stage_name(instruction, self._stage) if self._stages > 1 else ""
        if number == 1:
            self._hidden = 0
        self._is_label = (
            self._is_marked and instruction.startswith("LABEL ") and OWNER in instruction
        )
        if self._is_label:
            self._hidden += 1
            return
        if self._is_marked:
            total -= 1 if found[1] else self._stages
        step = BuildStep(number - self._hidden, total, instruction, ended=False)
        self.steps.append(step)
        self._is_open = True
        self._change(stage=self._stage_name)

    def _made(self, image_id: str | None, *, cached: bool) -> None:
        step = self.steps[-1]
        # Podman says all of it first, and then shortens it
        longest = max(image_id or "", step.image_id or "", key=len) or None
        self._change(image_id=longest, cached=step.cached or cached)

    def _labelled(self, line: str) -> None:
        """Take the image with our label for that of its `FROM`, where that has none of its own."""
        image = _IMAGE.match(line)
        if image and image[2] and self.steps and not self.steps[-1].image_id:
            self._change(image_id=image[2])

    def _end(self, at: float | None, *, failed: bool = False) -> None:
        if self._is_open:
            seconds = None if at is None or self._began is None else at - self._began
            self._change(seconds=seconds, ended=True, failed=failed)
        self._is_open = False

    def _change(self, **facts: Any) -> None:
        self.steps[-1] = replace(self.steps[-1], **facts)
        if self._on_step:
            self._on_step(self.steps[-1])
