"""Read what the classic builder and Podman's write while they build, line by line.

The classic builder: `Step 2/4 : RUN …`, ` ---> Running in 5f…`, ` ---> Using cache`, ` ---> 9a…`.
Podman's (buildah): `[1/2] STEP 2/4: RUN …`, `--> Using cache 9a…`, `--> 9a…`, `[2/2] COMMIT …`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from labsupport.engine.build.step import BuildStep
from labsupport.engine.labels import OWNER

_STEP = re.compile(r"(?:\[(\d+)/(\d+)\] )?(?:Step|STEP) (\d+)/(\d+) ?: (.*)")
_MADE = re.compile(r" ?-{2,3}> (Using cache ?)?([0-9a-f]{11,64})?\s*$")
_RUNNING = re.compile(r" ---> Running in ([0-9a-f]{12})\s*$")
_SAID = re.compile(
    r"(Removing intermediate container [0-9a-f]{12}|Successfully (built|tagged) .*"
    r"|(\[\d+/\d+\] )?COMMIT( .*)?|[0-9a-f]{64})\s*$"
)
_AS = re.compile(r"FROM\s.*\sAS\s+(\S+)\s*$", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class LineReader:
    """Makes steps of the lines; calls `on_step` whenever one begins, prints or has ended."""

    on_step: Callable[[BuildStep], None] | None = None
    steps: list[BuildStep] = field(default_factory=list)
    container: str | None = None
    _began: float = 0.0
    _stage: int = -1
    _hidden: int = 0
    _is_hidden: bool = False
    _is_running: bool = False
    _rest: str = ""

    def feed(self, text: str, at_seconds: float) -> None:
        """Take what came at a moment, which may end within a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(_COLOUR.sub("", line).rstrip("\r"), at_seconds)

    def finish(self, at_seconds: float, *, failed: bool = False) -> None:
        """Say that nothing more comes."""
        if self._rest:
            self.feed("\n", at_seconds)
        self._end(at_seconds, failed=failed)

    def _line(self, line: str, at: float) -> None:
        if found := _STEP.match(line):
            self._end(at)
            self._begin(found, at)
        elif not self._is_running or self._is_hidden:
            return
        elif found := _RUNNING.match(line):
            self.container = found[1]
        elif found := _MADE.match(line):
            step = self.steps[-1]
            self._change(
                cached=step.cached or bool(found[1]),
                image_id=step.image_id
                if step.image_id and len(step.image_id) > len(found[2] or "")
                else found[2],
            )
        elif not _SAID.match(line) and line:
            self._change(output=self.steps[-1].output + line + "\n")

    def _begin(self, found: re.Match[str], at: float) -> None:
        number, total, instruction = int(found[3]), int(found[4]), found[5].strip()
        self._is_running, self._began, self.container = True, at, None
        if instruction.upper().startswith("FROM "):
            self._stage += 1
        self._is_hidden = instruction.startswith("LABEL ") and OWNER in instruction
        if self._is_hidden:
            self._hidden += 1
            return
        self.steps.append(BuildStep(number, total, instruction, ended=False))
        self._tell()

    def _end(self, at: float, *, failed: bool = False) -> None:
        if self._is_running and not self._is_hidden:
            self._change(seconds=at - self._began, ended=True, failed=failed)
        self._is_running = False

    def _change(self, **facts: object) -> None:
        self.steps[-1] = replace(self.steps[-1], **facts)  # type: ignore[arg-type]
        self._tell()

    def _tell(self) -> None:
        if self.on_step:
            self.on_step(self.steps[-1])
