"""One step of a build: what every builder's words come down to."""

from __future__ import annotations

import re
from dataclasses import dataclass

LAST_LINES = 5
MOST_OUTPUT = 200_000  # characters of a step: some 3000 lines
_LEFT_OUT = "(what it printed before is left out)\n"
_AS = re.compile(r"FROM\s.*\sAS\s+(\S+)\s*$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class BuildStep:
    """An instruction of the Dockerfile, and what became of it.

    `number` of `total` are the builder's own: the classic builder counts through all stages,
    BuildKit and Podman begin anew in each, and BuildKit leaves out what only changes the
    configuration (`ENV`, `CMD`). `stage` is the name after `AS`, or `stage-1` for a second one
    without a name; it is empty where there is only one stage.

    `seconds` is wall-clock time, `bytes` is what the step added to the image by the engine's
    history; both are None where nobody says: in most pasted logs, and for BuildKit's stages but the
    last. `image_id` is known of builders that make an image of each step. `output` is what the
    program printed, the last 200 000 characters of it. While a build goes on, a step that has not
    `ended` has neither time nor bytes.
    """

    number: int
    total: int
    instruction: str
    seconds: float | None = None
    bytes: int | None = None
    cached: bool = False
    image_id: str | None = None
    output: str = ""
    stage: str = ""
    ended: bool = True
    failed: bool = False

    @property
    def name(self) -> str:
        """How BuildKit writes it: `[2/4]`, or `[base 2/3]`."""
        return f"[{self.stage} {self.number}/{self.total}]".replace("[ ", "[")

    @property
    def keyword(self) -> str:
        """The instruction's first word, in capitals: `RUN`."""
        return self.instruction.partition(" ")[0].upper()

    @property
    def last_lines(self) -> str:
        """The last five lines that it printed."""
        return "\n".join(self.output.rstrip("\n").splitlines()[-LAST_LINES:])

    def __str__(self) -> str:
        how = " CACHED" if self.cached else " FAILED" if self.failed else ""
        seconds = "" if self.seconds is None else f" {self.seconds:.1f} s"
        return f"{self.name} {self.instruction}{how}{seconds}"


def longer(output: str, text: str) -> str:
    """Return a step's output with more of it, cut off at the front if it has become too long."""
    output += text
    if len(output) <= MOST_OUTPUT:
        return output
    return _LEFT_OUT + output[-(MOST_OUTPUT // 2) :].partition("\n")[2]


def stage_name(instruction: str, index: int) -> str:
    """Name the stage that a `FROM` begins, as BuildKit does; `index` counts from 0."""
    found = _AS.match(instruction)
    return found[1] if found else f"stage-{index}"
