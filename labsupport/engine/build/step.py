"""One step of a build: what every builder's words come down to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BuildStep:
    """An instruction of the Dockerfile, and what became of it.

    `number` of `total` are the builder's own: the classic builder counts through all stages,
    BuildKit and Podman begin anew in each, and BuildKit leaves out what only changes the
    configuration (`ENV`, `CMD`). `stage` is the name after `AS`, or `stage-1` as BuildKit has it;
    it is empty where there is only one. `seconds` is wall-clock time, `bytes` what the step added
    to the image, as the engine's history says. `image_id` is known of builders that make an image
    of each step. `output` is what its program printed.
    """

    number: int
    total: int
    instruction: str
    seconds: float = 0.0
    bytes: int = 0
    cached: bool = False
    image_id: str | None = None
    output: str = ""
    stage: str = ""
    ended: bool = True
    failed: bool = False

    @property
    def name(self) -> str:
        """How builders write it: `[2/4]`, or `[base 2/3]`."""
        return f"[{self.stage} {self.number}/{self.total}]".replace("[ ", "[")

    def __str__(self) -> str:
        how = " CACHED" if self.cached else " FAILED" if self.failed else ""
        return f"{self.name} {self.instruction}{how} {self.seconds:.1f}s"
