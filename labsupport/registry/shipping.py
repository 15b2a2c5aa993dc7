"""An image on its way to a registry, layer by layer: what went over the line, what not.

The engine reports a push as a stream of JSON objects, one for each change of a layer, and reports a
failure there, too; the Docker SDK hands it on as it is, without raising anything.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsupport.errors import ShippingRefused

if TYPE_CHECKING:
    from labsupport.engine.client import Engine
    from labsupport.registry.registry import Registry

# --- why a login, a push or a pull was refused: the engine's words, sorted by cause and remedy ---

HUB = "docker.io"
_NAME_SERVER = re.compile(r" on [\d.:\[\]a-f]+:53(?=:)|(?<=: )dial udp [\d.:\[\]a-f]+:53: ")
"""Whom the engine asked for an address: it does not matter, and should not be published."""
_PLAIN = "http response to https client"
_REMEDIES: Mapping[tuple[str, ...], str] = {
    ("toomanyrequests", "too many requests", "rate limit"):
        "wait for some hours, log in (that raises it), or take another registry",
    ("no space left",): "docker system df shows what takes an engine's room",
    ("does not exist locally", "tag does not exist"):
        "docker image ls shows what there is; docker tag IMAGE {name}",
    ("no such host", "connection refused", "unreachable", "timeout", _PLAIN): "",  # see _way_to
    ("no basic auth",):  # containerd says "access denied" with it, too
        "docker login {where}, with your user name there and a token",
    ("access to the resource is denied", "access denied"): "",
    ("unauthorized", "authentication required"):
        "docker login {where}, with your user name there and a token",
    ("manifest unknown", "not found", "name unknown"):
        "look for spelling mistakes in name and tag; was it pushed?",
}  # fmt: skip
"""What to do, by what the engine says; where it is empty, the name leads to the wrong place."""


def registry_of(name: str) -> str:
    """Return where an image's name leads: what comes before the first "/", if it is an address.

    That is the engine's rule: a name without a dot, a colon or "localhost" there is Docker Hub's.
    """
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


def read(verb: str, name: str, words: str) -> ShippingRefused:
    """Turn the engine's words into an error with the remedy of the first cause that fits."""
    words = _NAME_SERVER.sub("", words)
    low = words.lower()
    what = f"docker {verb} {name.rstrip('/')}"
    for signs, remedy in _REMEDIES.items():
        if any(sign in low for sign in signs):
            return ShippingRefused(
                what, words, _insecure(name) if _PLAIN in low else _remedy(remedy, name)
            )
    return ShippingRefused(what, words)


def _remedy(words: str, name: str) -> str:
    where = registry_of(name)
    return words.format(name=name, where=where) if words else _way_to(where, name)


def _insecure(name: str) -> str:
    """Docker speaks plain HTTP to any registry on the loopback, Podman to those in its settings."""
    return (
        "Podman wants to be told that this registry has no certificate. Put into "
        "~/.config/containers/registries.conf (root: /etc/containers/registries.conf.d/lab.conf): "
        f'[[registry]] location = "{registry_of(name)}" insecure = true'
    )


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
    ended = _follow(events, name, registry)
    seconds = time.monotonic() - began
    told = registry.contents(name)
    # the classic store names a layer by its digest unpacked, containerd's as it travels
    unpacked = engine.client.images.get(name).attrs["RootFS"]["Layers"]
    names = zip(unpacked, (digest for digest, _, _ in told), strict=False)
    by_name = [ended.get(_short(one)) or ended.get(_short(other), "") for one, other in names]
    outcomes = by_name if all(by_name) else ended.values()
    layers = (LayerTrip(*each, how) for each, how in zip(told, outcomes, strict=False))
    return Trip(name, seconds, tuple(layers))


def _follow(events: Iterable[Mapping[str, Any]], name: str, registry: Registry) -> dict[str, str]:
    """Follow it to the end; return each layer's outcome by its short name."""
    ended: dict[str, str] = {}
    for event in events:
        if "error" in event:
            raise read("push", name, registry.explain(event["error"]))
        status = str(event.get("status", ""))
        if status.startswith("Mounted from"):
            ended[event["id"]] = MOUNTED
        elif status in _OUTCOMES:
            ended[event["id"]] = _OUTCOMES[status]
    return ended


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
