"""An image on its way to a registry, layer by layer: what went over the line, what not.

The engine reports a push as a stream of JSON objects, one for each change of a layer, and reports a
failure there, too; the Docker SDK hands it on as it is, without raising anything.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsupport.build.log import instruction
from labsupport.errors import LabError
from labsupport.figure.table import PlainTable, Tabled, amount

if TYPE_CHECKING:
    from labsupport.engine.client import Engine
    from labsupport.registry.registry import Registry

SENT, THERE, MOUNTED = "sent", "already there", "taken over from another repository"
_REMEDY = "docker image ls shows the names; docker login REGISTRY, with your user name and a token"
_OUTCOMES = {"Pushed": SENT, "Layer already exists": THERE, "Mounted": MOUNTED}


@dataclass(frozen=True)
class LayerTrip:
    """One layer of a push, and its outcome.

    `made_by` is the instruction that made the layer; `blob_bytes` its size as the registry stores
    it, compressed. `outcome` is "sent" if it went over the line, else where it was already.
    """

    digest: str
    made_by: str
    blob_bytes: int
    outcome: str

    @property
    def travelled(self) -> bool:
        """Whether its bytes went over the line."""
        return self.outcome == SENT


@dataclass(frozen=True, repr=False)
class Trip(Tabled):
    """A push that has ended: the image's layers, the lowest first."""

    name: str
    seconds: float
    layers: tuple[LayerTrip, ...]

    @property
    def travelled(self) -> tuple[LayerTrip, ...]:
        """The layers whose bytes went over the line."""
        return tuple(layer for layer in self.layers if layer.travelled)

    @property
    def line_bytes(self) -> int:
        """The bytes of layers that went over the line."""
        return sum(layer.blob_bytes for layer in self.travelled)

    @property
    def table(self) -> PlainTable:
        sent = f"{len(self.travelled)} of {len(self.layers)} layers sent, {amount(self.line_bytes)}"
        rows = (
            (f"`{instruction(layer.made_by)}`", _short(layer.digest), amount(layer.blob_bytes),
             layer.outcome)
            for layer in reversed(self.layers)
        )  # fmt: skip
        head = ("layer of", "digest", "in the registry", "what became of it")
        return PlainTable(f"{self.name}: {sent}", head, tuple(rows))


def push(engine: Engine, name: str, registry: Registry) -> Trip:
    """Push an image, as `docker push NAME` does, with the registry's user and token.

    Raises `LabError`: the engine or the registry refused, in its words.
    """
    began = time.monotonic()
    ended: dict[str, str] = {}  # each layer's outcome, by its short name
    events: Any = engine.client.api.push(name, stream=True, decode=True, auth_config=registry.auth)
    for event in events:
        if "error" in event:
            raise LabError(f"docker push {name}", str(event["error"]), _REMEDY)
        status = str(event.get("status", "")).partition(" from ")[0]
        if status in _OUTCOMES:
            ended[event["id"]] = _OUTCOMES[status]
    seconds = time.monotonic() - began
    told = registry.contents(name)
    # the classic store names a layer by its digest unpacked, containerd's as it travels
    unpacked = engine.client.images.get(name).attrs["RootFS"]["Layers"]
    names = zip(unpacked, (digest for digest, _, _ in told), strict=False)
    by_name = [ended.get(_short(one)) or ended.get(_short(other), "") for one, other in names]
    outcomes = by_name if all(by_name) else ended.values()
    layers = (LayerTrip(*each, how) for each, how in zip(told, outcomes, strict=False))
    return Trip(name, seconds, tuple(layers))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
