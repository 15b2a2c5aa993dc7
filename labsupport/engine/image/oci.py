"""The manifests of an OCI layout: from index.json down to the image for one kind of machine.

An index may lead to other indexes, to images for other machines, to attestations about images, and
to blobs that were not saved with it: only images that are there count. See image-index.md of the
OCI image specification.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from labsupport.engine.image.blobs import Blob, Store
from labsupport.engine.image.limits import Limits
from labsupport.engine.image.naming import is_digest
from labsupport.engine.image.saying import Said, read_json
from labsupport.errors import BadManifest, TooManyFiles

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_DEEPEST, _MOST_MANIFESTS = 4, 1000


@dataclass(frozen=True)
class Manifest:
    """An image's manifest, the names that an index gives it, and for what machine it is."""

    said: Said
    platform: str
    names: tuple[str, ...]


def manifests(store: Store, index: Said, limits: Limits) -> list[Manifest]:
    """Find the manifests of all images that are there."""
    found: dict[str, tuple[Said, str, list[str]]] = {}
    for digest, said, for_, name in _below(store, index, "", limits, _DEEPEST):
        names = found.setdefault(digest, (said, for_, []))[2]
        if name and name not in names:
            names.append(name)
        if len(found) > _MOST_MANIFESTS:
            raise TooManyFiles(_MOST_MANIFESTS, "manifests")
    return [Manifest(said, for_, tuple(names)) for said, for_, names in found.values()]


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


def _below(
    store: Store, index: Said, name: str, limits: Limits, deeper: int
) -> Iterator[tuple[str, Said, str, str]]:
    """Yield of each image its manifest's digest, the manifest, its platform, its name."""
    for descriptor in index["manifests"].items():
        notes = descriptor["annotations"]
        named = next((text for key in _NAMES if (text := notes[key].text())), name)
        found = described(store, descriptor)
        if not found or notes["vnd.docker.reference.type"].text():  # an attestation
            continue
        said, _ = read_json(found[0], limits.json_bytes, found[1])
        if "manifests" in said.object() or descriptor["mediaType"].text() in _INDEXES:
            if not deeper:
                raise BadManifest(f"{said.where} is too deep", "an index in an index in an index …")
            yield from _below(store, said, named, limits, deeper - 1)
        else:
            yield found[1], said, _platform(descriptor["platform"]), named


def _platform(said: Said) -> str:
    parts = (said[key].text() for key in ("os", "architecture", "variant"))
    return "/".join(part for part in parts if part)
