"""What each instruction of a Dockerfile did: the image after it compared with the image before it.

Builders keep an image for each step. An image is a list of layers and a configuration, so there are
two things that an instruction can do: add a layer, or change the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsupport.engine.images import Image
from labsupport.engine.labels import OWNER
from labsupport.errors import StepsUnknown

if TYPE_CHECKING:
    from labsupport.engine.builds import Build
    from labsupport.engine.client import Engine

# what `docker inspect` shows below Config, and says something of the image
KEYS = ("Env", "WorkingDir", "User", "ExposedPorts", "Entrypoint", "Cmd", "Volumes", "Labels",
        "StopSignal", "Shell", "Healthcheck", "OnBuild")  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """What one instruction did.

    `layers` are the digests (diff IDs) of the layers that it added: one or none, but for FROM,
    which takes over all of the base image's. `config` maps what it changed in the configuration to
    (before, after), as JSON. `added`, `changed` and `deleted` are paths, without folders that
    already were there; `size_bytes` is the sum of the layers' regular files.
    """

    number: int
    instruction: str
    layers: tuple[str, ...]
    config: Mapping[str, tuple[str, str]]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    size_bytes: int

    @property
    def verb(self) -> str:
        """The instruction's first word: `RUN`."""
        return self.instruction.split()[0].upper()

    @property
    def files(self) -> tuple[str, ...]:
        """All paths that its layer has something to say about."""
        return (*self.added, *self.changed, *self.deleted)

    def __str__(self) -> str:
        parts = [f"{len(self.layers)} layer(s): {', '.join(self.files[:3])}"] if self.layers else []
        parts += [f"{key} {before} → {after}" for key, (before, after) in self.config.items()]
        return f"{self.instruction}: {'; '.join(parts) or 'nothing'}"


def effects(engine: Engine, build: Build) -> list[Effect]:
    """Compare the images that a build left behind at each step, in the order of the Dockerfile.

    Raises:
        StepsUnknown: the builder keeps no images of its steps (BuildKit does not).

    """
    if build.image_id is None:
        raise StepsUnknown("there is nothing to compare", "the build made no image")
    found = []
    with Image.of(engine, build.image_id) as image:
        by_id = {layer.diff_id: layer for layer in image.layers}
        for number, (step, before, after) in enumerate(_pairs(engine, build), 1):
            new = [by_id[name] for name in after.layers[len(before.layers) :]]
            found.append(
                Effect(
                    number=number,
                    instruction=step,
                    layers=tuple(layer.diff_id for layer in new),
                    config=_difference(before.config, after.config),
                    added=tuple(path for layer in new for path in layer.added),
                    changed=tuple(
                        path
                        for layer in new
                        for path in layer.changed
                        if layer.files[path].kind != "folder"
                    ),
                    deleted=tuple(path for layer in new for path in layer.deleted),
                    size_bytes=sum(layer.size_bytes for layer in new),
                )
            )
    return found


@dataclass(frozen=True)
class _State:
    layers: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None


def _pairs(engine: Engine, build: Build) -> Iterator[tuple[str, _State, _State]]:
    """Give each instruction with what was before and after it."""
    before = _State()
    for step in build.steps:
        if step.image_id:
            after = _state(engine, step.image_id)
        elif step.instruction.split()[1:2] == ["scratch"]:
            after = _State()
        else:
            raise StepsUnknown(
                "the steps of this build cannot be compared",
                f"the builder tells no image for `{step.instruction}`",
                "use an engine whose API builds step by step: Docker's, or Podman's with layers",
            )
        yield step.instruction, before, after
        before = after


def _state(engine: Engine, image_id: str) -> _State:
    attributes = engine.client.images.get(image_id).attrs
    return _State(tuple(attributes["RootFS"].get("Layers") or ()), attributes["Config"])


def _difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, tuple[str, str]]:
    found = {}
    for key in KEYS:
        old, new = (_value(config, key) for config in (before, after))
        if old != new:
            found[key] = (_json(old), _json(new))
    return found


def _value(config: Mapping[str, Any] | None, key: str) -> Any:
    value = (config or {}).get(key) or None
    if key == "Labels" and value:  # ours says whose the image is: every step has it
        return {name: text for name, text in value.items() if name != OWNER} or None
    return value


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value)
