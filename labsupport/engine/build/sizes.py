"""What each step added to the image, by the engine's own history of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labsupport.engine.build.step import BuildStep

if TYPE_CHECKING:
    from docker import APIClient

MAKE_LAYERS = ("RUN", "COPY", "ADD", "WORKDIR")
"""What BuildKit names as steps; the rest only changes the configuration."""


def with_bytes(api: APIClient, steps: Sequence[BuildStep], image_id: str | None) -> list[BuildStep]:
    """Fill in `bytes` of steps, stage by stage, as far as there is an image to ask for.

    An image's history has one entry for each instruction, the newest first; some builders' images
    have no names of their own for them, so they are matched by their order.
    """
    sized: list[BuildStep] = []
    stages = list(_stages(steps))
    for stage in stages:
        done = [step for step in stage if not step.failed and step.ended]
        is_last = stage is stages[-1]
        known = next((step.image_id for step in reversed(done) if step.image_id), None)
        image = image_id if is_last and image_id else known
        sized += _sized(done, _history(api, image)) if image else done
        sized += stage[len(done) :]
    return sized


def _stages(steps: Sequence[BuildStep]) -> Iterator[list[BuildStep]]:
    stage: list[BuildStep] = []
    for step in steps:
        if stage and (step.keyword == "FROM" or step.stage != stage[-1].stage):
            yield stage
            stage = []
        stage.append(step)
    if stage:
        yield stage


def _history(api: APIClient, image_id: str) -> list[Mapping[str, Any]]:
    ask: Any = api.history  # untyped
    entries: list[Mapping[str, Any]] = ask(image_id)
    return entries


def _sized(steps: Sequence[BuildStep], history: Sequence[Mapping[str, Any]]) -> list[BuildStep]:
    entries = list(history)
    sized: list[BuildStep] = []
    for step in reversed(steps):
        if step.keyword == "FROM":
            sized.append(replace(step, bytes=sum(entry["Size"] for entry in entries)))
            continue
        while entries and _is_no_step(entries[0]):
            entries.pop(0)
        if entries:
            sized.append(replace(step, bytes=entries.pop(0)["Size"]))
    return sized[::-1]


def _is_no_step(entry: Mapping[str, Any]) -> bool:
    """Tell entries of BuildKit's that its log does not name."""
    by_buildkit = str(entry.get("Comment", "")).startswith("buildkit")
    return by_buildkit and not str(entry.get("CreatedBy", "")).startswith(MAKE_LAYERS)
