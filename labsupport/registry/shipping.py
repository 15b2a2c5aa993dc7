"""An image on its way to a registry, layer by layer: what went over the line, what not.

The engine reports a push as a stream of JSON objects, one for each change of a layer, and reports a
failure there, too; the Docker SDK hands it on as it is, without raising anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsupport.errors import ShippingRefused

if TYPE_CHECKING:
    from labsupport.engine.client import Engine
    from labsupport.registry.registry import Registry

# --- why a push was refused: the engine's words, sorted by cause and remedy ---

HUB = "docker.io"
_LOG_IN = "docker login {where}, with your user name there and a token"
_REMEDIES: Mapping[tuple[str, ...], str] = {
    ("does not exist locally", "tag does not exist"):
        "docker image ls shows what there is; docker tag IMAGE {name}",
    ("http response to https client",):  # Docker speaks plain HTTP to the loopback; Podman is told
        'put into registries.conf: [[registry]] location = "{where}" insecure = true',
    ("no such host", "connection refused", "unreachable", "timeout"): "",
    ("no basic auth",): _LOG_IN,  # containerd says "access denied" with it, too
    ("access to the resource is denied", "access denied"): "",
    ("unauthorized", "authentication required"): _LOG_IN,
}  # fmt: skip
"""What to do, by what the engine says; where it is empty, the name leads to the wrong place."""


def registry_of(name: str) -> str:
    """Return where an image's name leads: what comes before the first "/", if it is an address.

    That is the engine's rule: a name without a dot, a colon or "localhost" there is Docker Hub's.
    """
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


def read(name: str, words: str) -> ShippingRefused:
    """Turn the engine's words into an error with the remedy of the first cause that fits."""
    where, remedy = registry_of(name), ""
    for signs, found in _REMEDIES.items():
        if any(sign in words.lower() for sign in signs):
            remedy = found.format(name=name, where=where) or _way_to(where, name)
            break
    return ShippingRefused(f"docker push {name}", words, remedy)


def _way_to(where: str, name: str) -> str:
    if where == HUB and "/" not in name:
        return (
            f"{name!r} names neither a registry nor a user, so it stands for "
            f"{HUB}/library/{name}. docker tag {name} REGISTRY/USER/{name}, and push that name"
        )
    return f"the name leads to {where}: is that where it should go, and is it up?"


SENT, THERE, MOUNTED = "sent", "already there", "taken over from another repository"
_OUTCOMES = {"Pushed": SENT, "Layer already exists": THERE}


@dataclass(frozen=True)
class LayerTrip:
    """One layer of a push, and its outcome.

    `made_by` is the instruction that made the layer; `blob_bytes` its size as the registry stores
    it, compressed. `outcome` is "sent" if it went over the
    line, else where it was already.
    """

    digest: str
    made_by: str
    blob_bytes: int
    outcome: str

    @property
    def travelled(self) -> bool:
        """Whether its bytes went over the line."""
        return self.outcome == SENT


@dataclass(frozen=True)
class Trip:
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


def push(engine: Engine, name: str, registry: Registry) -> Trip:
    """Push an image, as `docker push NAME` does, with the registry's user and token.

    Raises `ShippingRefused`: the engine or the registry refused; the remedy is that of the cause.
    """
    began = time.monotonic()
    events: Any = engine.client.api.push(name, stream=True, decode=True, auth_config=registry.auth)
    ended = _follow(events, name)
    seconds = time.monotonic() - began
    told = registry.contents(name)
    # the classic store names a layer by its digest unpacked, containerd's as it travels
    unpacked = engine.client.images.get(name).attrs["RootFS"]["Layers"]
    names = zip(unpacked, (digest for digest, _, _ in told), strict=False)
    by_name = [ended.get(_short(one)) or ended.get(_short(other), "") for one, other in names]
    outcomes = by_name if all(by_name) else ended.values()
    layers = (LayerTrip(*each, how) for each, how in zip(told, outcomes, strict=False))
    return Trip(name, seconds, tuple(layers))


def _follow(events: Iterable[Mapping[str, Any]], name: str) -> dict[str, str]:
    """Follow it to the end; return each layer's outcome by its short name."""
    ended: dict[str, str] = {}
    for event in events:
        if "error" in event:
            raise read(name, str(event["error"]))
        status = str(event.get("status", ""))
        if status.startswith("Mounted from"):
            ended[event["id"]] = MOUNTED
        elif status in _OUTCOMES:
            ended[event["id"]] = _OUTCOMES[status]
    return ended


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
