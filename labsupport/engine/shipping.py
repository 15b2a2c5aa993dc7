"""An image on its way to a registry and back, layer by layer: what went over the line, what not.

The engine reports a push or a pull as a stream of JSON objects, one for each change of a layer, and
reports a failure there, too; the Docker SDK hands it on as it is, without raising anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from labsupport.engine import shipping_refusals

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

Event = Mapping[str, Any]
SENT, FETCHED = "sent", "fetched"
THERE, HERE, MOUNTED = "already there", "already here", "taken over from another repository"
_OUTCOMES = {
    "Pushed": SENT,
    "Layer already exists": THERE,
    "Pull complete": FETCHED,
    "Already exists": HERE,
}


class Shop(Protocol):
    """What is asked of a registry here: `Registry` and `DockerHub` are such."""

    @property
    def address(self) -> str:
        """What an image's name begins with."""

    @property
    def auth(self) -> dict[str, str]:
        """User and token, as the Docker SDK's `auth_config` takes them."""

    def contents(self, name: str) -> list[tuple[str, str, int]]:
        """Return an image's layers, the lowest first: digest, made by, bytes as stored; or []."""

    def explain(self, words: str) -> str:
        """Add to the engine's words what the registry itself says, if it does."""


@dataclass(frozen=True)
class LayerTrip:
    """One layer of a push or a pull, and what became of it.

    `made_by` is the instruction that made the layer; `blob_bytes` its size as the registry stores
    it, compressed (0 if the registry does not tell). `outcome` is "sent" or "fetched" if it went
    over the line, else where it was already.
    """

    digest: str
    made_by: str
    blob_bytes: int
    outcome: str

    @property
    def travelled(self) -> bool:
        """Whether its bytes went over the line."""
        return self.outcome in (SENT, FETCHED)


@dataclass(frozen=True)
class Trip:
    """A push or a pull that has ended: the image's layers, the lowest first."""

    verb: str
    name: str
    digest: str
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
    def total_bytes(self) -> int:
        """The bytes of all layers, as the registry stores them."""
        return sum(layer.blob_bytes for layer in self.layers)

    @property
    def command(self) -> str:
        """What does the same in a terminal."""
        return f"docker {self.verb} {self.name}"


def login(engine: Engine, address: str, user: str, token: str) -> str:
    """Have the engine try them; they stay in the memory of this connection.

    Raises:
        ShippingRefused: the registry did not let them in, or does not answer.

    """
    from docker.errors import APIError

    try:
        said = engine.client.login(user, token, registry=address, reauth=True)
    except APIError as error:
        words = str(error.explanation)
        raise shipping_refusals.read("login", f"{address}/", words) from error
    return str(said["Status"])


def push(
    engine: Engine, name: str, shop: Shop, on_event: Callable[[Event], None] | None = None
) -> Trip:
    """Push an image, as `docker push NAME` does, with the registry's user and token.

    Raises:
        ShippingRefused: the engine or the registry refused; its subclasses say why.

    """
    began = time.monotonic()
    events: Any = engine.client.api.push(name, stream=True, decode=True, auth_config=shop.auth)
    ended, digest = _watch(events, "push", name, shop, on_event)
    seconds = time.monotonic() - began
    trip = Trip("push", name, digest, seconds, _layers(name, shop, len(ended)))
    # the classic store names a layer by its digest unpacked, containerd's as it travels
    unpacked = engine.client.images.get(name).attrs["RootFS"]["Layers"]
    names = zip(map(_short, unpacked), trip.layers, strict=False)
    by_name = [ended.get(each) or ended.get(_short(layer.digest), "") for each, layer in names]
    return _with_outcomes(trip, by_name if all(by_name) else ended.values())


def pull(
    engine: Engine, name: str, shop: Shop, on_event: Callable[[Event], None] | None = None
) -> Trip:
    """Pull an image, as `docker pull NAME` does, with the registry's user and token.

    Raises:
        ShippingRefused: the engine or the registry refused; its subclasses say why.

    """
    from docker.errors import APIError

    began = time.monotonic()
    repository, _, tag = name.rpartition(":")
    try:
        events: Any = engine.client.api.pull(
            repository, tag=tag, stream=True, decode=True, auth_config=shop.auth
        )
    except APIError as error:
        raise shipping_refusals.read("pull", name, str(error.explanation)) from error
    ended, digest = _watch(events, "pull", name, shop, on_event)
    seconds = time.monotonic() - began
    count = len(engine.client.images.get(name).attrs["RootFS"]["Layers"])
    trip = Trip("pull", name, digest, seconds, _layers(name, shop, count))
    if any(not layer.digest for layer in trip.layers):  # the registry does not tell them
        # containerd's store does not speak of the layers that were here
        return _with_outcomes(trip, [*[HERE] * (count - len(ended)), *ended.values()])
    return _with_outcomes(trip, [ended.get(_short(layer.digest), HERE) for layer in trip.layers])


def _watch(
    events: Iterable[Event],
    verb: str,
    name: str,
    shop: Shop,
    on_event: Callable[[Event], None] | None,
) -> tuple[dict[str, str], str]:
    """Follow it to the end; return each layer's outcome by its short name, and the digest."""
    ended: dict[str, str] = {}
    digest = ""
    for event in events:
        if on_event:
            on_event(event)
        if "error" in event:
            raise shipping_refusals.read(verb, name, shop.explain(event["error"]))
        status = str(event.get("status", ""))
        if status.startswith("Mounted from"):
            ended[event["id"]] = MOUNTED
        elif status in _OUTCOMES:
            ended[event["id"]] = _OUTCOMES[status]
        elif "digest: sha256:" in status.lower():
            digest = "sha256:" + status.partition("sha256:")[2].split()[0]
    return ended, digest


def _layers(name: str, shop: Shop, count: int) -> tuple[LayerTrip, ...]:
    told = shop.contents(name) or [("", "", 0)] * count
    return tuple(LayerTrip(digest, made_by, size, "") for digest, made_by, size in told)


def _with_outcomes(trip: Trip, outcomes: Iterable[str]) -> Trip:
    layers = [
        replace(layer, outcome=outcome)
        for layer, outcome in zip(trip.layers, outcomes, strict=False)
    ]
    return replace(trip, layers=tuple(layers))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
