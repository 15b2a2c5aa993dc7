"""Containers, networks and images whose owner has ended: found by their label, and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from labsupport.engine import finding, listing
from labsupport.engine.labels import OWNER, is_left
from labsupport.errors import LabError
from labsupport.ownership import Leftover


def find() -> Iterator[Leftover]:
    """Look in the engine of this machine, if there is one that answers."""
    try:
        client, _ = finding.find()
    except LabError:
        return
    with contextlib.closing(client):
        yield from find_in(client)


def find_in(client: docker.DockerClient) -> Iterator[Leftover]:
    """Look for what carries our label and belongs to a process that has ended."""
    mine: dict[str, Any] = {"label": OWNER}
    for container in listing.containers(client, all=True, filters=mine):
        if is_left(container.labels.get(OWNER, "")):
            yield Leftover(f"container {container.name}", partial(_remove, container, force=True))
    for network in client.networks.list(filters=mine):
        if is_left((network.attrs.get("Labels") or {}).get(OWNER, "")):
            yield Leftover(f"network {network.name}", partial(_remove, network))
    for image in _images(client):
        name = listing.first_name(image)
        yield Leftover(f"image {name}", partial(remove_image, client, image["Id"]))


def _images(client: docker.DockerClient) -> list[dict[str, Any]]:
    """The images left behind, those of a build's steps too; what others are made of comes last.

    An image takes the nameless ones that it was made of along, so those need not be there any more
    when their turn comes.
    """
    return children_first(
        [
            image
            for image in listing.images(client, all=True, filters={"label": OWNER})
            if is_left((image.get("Labels") or {}).get(OWNER, ""))
        ]
    )


def children_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort images, as the engine lists them, so that each comes before what it was made of."""
    parents = {image["Id"]: image.get("ParentId") for image in found}

    def depth(identity: str | None) -> int:
        return 1 + depth(parents[identity]) if identity in parents else 0

    return sorted(found, key=lambda image: -depth(image["Id"]))


def remove_image(client: docker.DockerClient, identity: str) -> None:
    """Remove an image by its ID, with all its names, unless somebody has made something of it."""
    try:
        names = client.images.get(identity).tags
        for name in names or [identity]:
            client.images.remove(name)  # not by force: that does not mind stopped containers
    except ImageNotFound:  # gone with one that was made of it
        return
    except APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:
            raise


def _remove(thing: Any, **options: bool) -> None:
    try:
        thing.remove(**options)
    except APIError as error:  # another notebook sweeps, too, and so does the engine itself
        in_progress = "already in progress" in (error.explanation or "")
        if not in_progress and not listing.is_gone(error):
            raise
