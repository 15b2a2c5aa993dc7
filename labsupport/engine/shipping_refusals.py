"""Why a login, a push or a pull was refused: the engine's words, sorted by cause and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from labsupport.errors import (
    LoginRefused,
    NameNotYours,
    NoRoom,
    NotHere,
    NotThere,
    RateLimited,
    RegistryOutOfReach,
    ShippingRefused,
)

HUB = "docker.io"
_NAME_SERVER = re.compile(r" on [\d.:\[\]a-f]+:53(?=:)|(?<=: )dial udp [\d.:\[\]a-f]+:53: ")
"""Whom the engine asked for an address: it does not matter, and is nobody else's business."""
_PLAIN = "http response to https client"
_CAUSES: Mapping[tuple[str, ...], type[ShippingRefused]] = {
    ("toomanyrequests", "too many requests", "rate limit"): RateLimited,
    ("no space left",): NoRoom,
    ("does not exist locally", "tag does not exist"): NotHere,
    ("no such host", "connection refused", "unreachable", "timeout", _PLAIN):
        RegistryOutOfReach,
    ("no basic auth",): LoginRefused,  # containerd says "access denied" with it, too
    ("access to the resource is denied", "access denied"): NameNotYours,
    ("unauthorized", "authentication required"): LoginRefused,
    ("manifest unknown", "not found", "name unknown"): NotThere,
}  # fmt: skip


def registry_of(name: str) -> str:
    """Return where an image's name leads: what stands before the first "/", if it is an address.

    That is the engine's rule: a name without a dot, a colon or "localhost" there is Docker Hub's.
    """
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


def read(verb: str, name: str, words: str) -> ShippingRefused:
    """Turn the engine's words into the error of their cause; the first that fits."""
    words = _NAME_SERVER.sub("", words)
    low = words.lower()
    what = f"docker {verb} {name.rstrip('/')}"
    for signs, error in _CAUSES.items():
        if any(sign in low for sign in signs):
            return error(what, words, _insecure(name) if _PLAIN in low else _remedy(error, name))
    return ShippingRefused(what, words)


def _remedy(error: type[ShippingRefused], name: str) -> str:
    where = registry_of(name)
    return {
        RateLimited: "wait for some hours, log in (that raises it), or take another registry",
        NoRoom: "docker system df shows what takes an engine's room",
        NotHere: f"docker image ls shows what there is; docker tag IMAGE {name}",
        NotThere: "look for spelling mistakes in name and tag; was it pushed?",
        LoginRefused: f"docker login {where}, with your user name there and a token",
    }.get(error) or _way_to(where, name)


def _insecure(name: str) -> str:
    """Docker speaks plain HTTP to any registry on the loopback, Podman only to those it is told."""
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
