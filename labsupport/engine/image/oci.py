"""The manifests of an OCI layout: from index.json down to the image for one kind of machine.

An index may lead to other indexes, to images for other machines, to attestations about images, and
to blobs that were not saved with it: only images that are there count. See image-index.md of the
OCI image specification.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from labsupport.engine.image.blobs import Blob, Store
from labsupport.engine.image.limits import Meter
from labsupport.engine.image.naming import is_digest
from labsupport.engine.image.saying import Said, read_json
from labsupport.errors import BadManifest, TooManyFiles

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_MOST_DESCRIPTORS = 1000


@dataclass(frozen=True)
class Manifest:
    """An image's manifest, the names that an index gives it, and for what machine it is."""

    said: Said
    platform: str
    names: tuple[str, ...]


def manifests(store: Store, index: Said, meter: Meter) -> list[Manifest]:
    """Find the manifests of all images that are there."""
    found: dict[str, tuple[Said, str, list[str]]] = {}
    waiting = [(descriptor, "") for descriptor in index["manifests"].items()][::-1]
    for _ in range(_MOST_DESCRIPTORS + 1):
        if not waiting:
            return [Manifest(said, of, tuple(names)) for said, of, names in found.values()]
        descriptor, name = waiting.pop()
        blob = described(store, descriptor)
        notes = descriptor["annotations"]
        if not blob or notes["vnd.docker.reference.type"].text():  # an attestation
            continue
        name = next((text for key in _NAMES if (text := notes[key].text())), name)
        said = read_json(blob[0], meter, blob[1])[0]
        if "manifests" in said.object():
            waiting += [(below, name) for below in said["manifests"].items()][::-1]
            continue
        names = found.setdefault(blob[1], (said, _platform(descriptor["platform"]), []))[2]
        if name and name not in names:
            names.append(name)
    raise TooManyFiles(_MOST_DESCRIPTORS, "manifests")


def described(store: Store, descriptor: Said) -> tuple[Blob, str] | None:
    """Find what a descriptor names, and its digest; None if it was not saved."""
    digest = descriptor["digest"].text()
    if not is_digest(digest):
        raise BadManifest(f"{descriptor.where} names no digest", repr(digest[:80]))
    blob = store.blob("blobs/" + digest.replace(":", "/"))
    size = descriptor["size"].number()
    if blob and blob.size_bytes != size:
        raise BadManifest(
            f"{descriptor.where} is not true",
            f"{digest} has {blob.size_bytes:,} bytes, and not {size:,}",
        )
    return (blob, digest) if blob else None


def machine() -> str:
    """Return what this machine is, in an index's words."""
    here = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(here, here)}"


def _platform(said: Said) -> str:
    parts = (said[key].text() for key in ("os", "architecture", "variant"))
    return "/".join(part for part in parts if part)
