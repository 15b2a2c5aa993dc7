"""Why a build failed: the builders' words for it, sorted by what one would do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labsupport.engine.build.marking import Marked
from labsupport.engine.build.step import BuildStep
from labsupport.errors import (
    BaseImageMissing,
    BuildFailed,
    DockerfileWrong,
    NotInContext,
    StoreChanged,
)

EXIT_STATUS = re.compile(
    r"(?:returned a non-zero code: |exit code: |while running runtime: exit status )(\d+)"
)
_SYNTAX = re.compile(
    r"dockerfile parse error|unknown instruction|failed to parse|no build stage", re.IGNORECASE
)
_LINE = re.compile(r"\bline (\d+)")
_NO_BASE = re.compile(r"failed to do request|failed to resolve|load metadata|pull access denied")
_GO_STRUCT = re.compile(r" &imagebuilder\.Step\{.*", re.DOTALL)  # Podman prints its insides
_CHANGED = re.compile(r"checking if cached image exists.* not known")  # Podman's, as it compares
_NOT_THERE = re.compile(r"no such file or directory|file not found|not found|does not exist")


def failure(message: str, steps: Sequence[BuildStep], dockerfile: Marked) -> BuildFailed:
    """Make the error that fits what the builder said."""
    message = message.strip()
    step = next((step for step in reversed(steps) if step.failed), None)
    if found := EXIT_STATUS.search(message):
        return _ended(int(found[1]), steps, step or (steps[-1] if steps else None))
    if _SYNTAX.search(message):
        said = _GO_STRUCT.sub("", message)
        moved = _LINE.sub(lambda found: f"line {dockerfile.original(int(found[1]))}", said)
        return DockerfileWrong(moved, steps)
    if _CHANGED.search(message):
        return StoreChanged(message, steps, step)
    if step and step.keyword in {"COPY", "ADD"} and _NOT_THERE.search(message):
        return NotInContext(message, steps, step)
    if (step and step.keyword == "FROM") or _NO_BASE.search(message):
        return BaseImageMissing(message, steps, step)
    return BuildFailed(message, steps, step)


def _ended(status: int, steps: Sequence[BuildStep], step: BuildStep | None) -> BuildFailed:
    stage = [other for other in steps if step and other.stage == step.stage]
    before = [other for other in stage if other.image_id and other is not step]
    remedy = "read its last words; then mend the instruction, and build again"
    if before:
        remedy = (
            "look around where it failed, in the image of the step before:\n"
            f"  docker run -it --rm {before[-1].image_id} sh"
        )
    words = step.last_lines if step else ""
    why = f"exit status {status}" + (f"; its last words were:\n{words}" if words else "")
    return BuildFailed(why, steps, step, exit_status=status, remedy=remedy)
