"""Images that this process has built, and their end: with what they were made of, child by child.

Docker's classic store takes the nameless parents of an image along; containerd's does not, and
keeps each as long as something else is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labsupport.engine import listing
from labsupport.engine.labels import as_filter, owner_labels
from labsupport.engine.leftovers import children_first, remove_image

if TYPE_CHECKING:
    from docker import DockerClient

IN_USE: set[str] = set()
"""The IDs of images that a bench has built and still has; one may have lost its name meanwhile."""


def family(client: DockerClient, built: set[str]) -> list[str]:
    """Return images (IDs) with the nameless ones of ours that they were made of, children first."""
    listed = listing.images(client, all=True, filters=as_filter(owner_labels()))
    ours = {image["Id"]: image for image in listed}
    found = {each for identity in built for each in _with_nameless_parents(identity, ours)}
    strangers = [identity for identity in found if identity not in ours]
    known = children_first([ours[identity] for identity in found if identity in ours])
    return [*strangers, *(image["Id"] for image in known)]


def remove(client: DockerClient, built: set[str]) -> None:
    """Remove these images (IDs), and the nameless ones of ours that they alone were made of."""
    IN_USE.difference_update(built)
    for identity in family(client, built):
        remove_image(client, identity)


def remove_nameless(client: DockerClient) -> None:
    """Remove what a failed build has left: images without a name and with our label."""
    last: set[str] = set()
    while last != (
        found := {
            image["Id"]
            for image in listing.images(client, filters=as_filter(owner_labels()))
            if _is_nameless(image) and image["Id"] not in IN_USE
        }
    ):
        for identity in found:
            remove_image(client, identity)
        last = found


def _with_nameless_parents(identity: str, ours: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield identity
    while parent := ours.get(ours.get(identity, {}).get("ParentId", "")):
        identity = parent["Id"]
        if not _is_nameless(parent) or identity in IN_USE:
            return
        yield identity


def _is_nameless(image: Mapping[str, Any]) -> bool:
    return all(name.startswith("<none>") for name in image["RepoTags"] or ())
