"""What an engine has, who owns it, and what was left behind by an owner that has ended.

Everything that we make in an engine carries a label: who made it, so that its end can be told.
Images have one of their own, for a container gets its image's labels, too, whoever starts it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.ownership.marks import Leftover

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container

OWNER = "org.labsupport.owner"
IMAGE_OWNER = "org.labsupport.image-owner"
TRIES = 20
GONE = ("not known", "no such container")  # Podman's words for what has just gone
COURSE = "course"  # owns what all notebooks share, which no session's end removes


def owner_labels() -> dict[str, str]:
    """Label for the containers, networks and volumes that this process makes: its mark."""
    return {OWNER: marks.mark()}


def image_labels() -> dict[str, str]:
    """Label for the images that this process makes: its mark."""
    return {IMAGE_OWNER: marks.mark()}


def as_filter(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the filter, as the Docker SDK takes it, that finds what carries all these labels."""
    return {"label": [f"{key}={text}" for key, text in labels.items()]}


def images(client: DockerClient, **options: Any) -> list[dict[str, Any]]:
    """Return what `GET /images/json` answers; `options` are those of the Docker SDK."""
    return _listed(client.api.images, options)


def containers(client: DockerClient, **options: Any) -> list[Container]:
    """Return the containers; `options` are those of `GET /containers/json`."""
    # as the SDK's `list(ignore_removed=True)`, which does not know Podman's answer
    from docker.errors import APIError

    found = []
    for row in _listed(client.api.containers, options):
        try:
            found.append(client.containers.get(row["Id"]))
        except APIError as error:
            if not is_gone(error):
                raise
    return found


def is_gone(error: APIError) -> bool:
    """Say whether the engine refused because the thing does not exist (any more)."""
    # where it had the thing at the beginning of the request, Podman calls that an error of its own
    by_podman = error.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    words = str(error.explanation)
    return error.status_code == HTTPStatus.NOT_FOUND or (
        by_podman and any(gone in words for gone in GONE)
    )


def _listed(ask: Callable[..., Iterable[Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask for a list; Podman gives up when something goes while it lists: it is asked again."""
    from docker.errors import APIError

    for _ in range(TRIES - 1):
        try:
            return [*ask(**options)]
        except APIError as error:
            if not is_gone(error):
                raise
    return [*ask(**options)]


def first_name(image: dict[str, Any]) -> str:
    """Return a name of a listed image, or the first digits of its ID."""
    names = [name for name in image["RepoTags"] or () if not name.startswith("<none>")]
    return names[0] if names else str(image["Id"].removeprefix("sha256:")[:12])


def find() -> Iterator[Leftover]:
    """Look in the engine of this machine, if there is one that answers."""
    from labsupport.engine import client as engines

    try:
        client, _ = engines.find()
    except LabError:
        return
    with contextlib.closing(client):
        yield from find_in(client)


def find_in(client: DockerClient) -> Iterator[Leftover]:
    """Look for what carries our label and belongs to a process that has ended."""
    for container in _containers_left(client):
        yield Leftover(f"container {container.name}", partial(_remove, container, force=True))
    for network in client.networks.list(filters={"label": OWNER}):
        if not marks.is_alive((network.attrs.get("Labels") or {}).get(OWNER, "")):
            yield Leftover(f"network {network.name}", partial(_remove, network))
    left = [
        image
        for image in images(client, all=True, filters={"label": IMAGE_OWNER})  # also of steps
        if not marks.is_alive((image.get("Labels") or {}).get(IMAGE_OWNER, ""))
    ]
    for image in children_first(left):
        name = first_name(image)
        yield Leftover(f"image {name}", partial(remove_image, client, image["Id"]))


def _containers_left(client: DockerClient) -> Iterator[Container]:
    for container in containers(client, all=True, filters={"label": OWNER}):
        if not marks.is_alive(container.labels.get(OWNER, "")):
            yield container
    # `docker run --rm IMAGE` of ours that was killed before its container had started
    unstarted: dict[str, Any] = {"label": IMAGE_OWNER, "status": "created"}
    for container in containers(client, all=True, filters=unstarted):
        is_ours = not marks.is_alive(container.labels.get(IMAGE_OWNER, ""))
        if is_ours and container.attrs["HostConfig"]["AutoRemove"]:
            yield container


def children_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort images, as the engine lists them, so that each comes before what it was made of."""
    # it takes the nameless ones of those along
    parents = {image["Id"]: image.get("ParentId") for image in found}

    def depth(identity: str | None) -> int:
        return 1 + depth(parents[identity]) if identity in parents else 0

    return sorted(found, key=lambda image: -depth(image["Id"]))


def remove_image(client: DockerClient, identity: str) -> None:
    """Remove an image by its ID, with all its names, unless somebody has made something of it."""
    from docker.errors import APIError, ImageNotFound

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
    from docker.errors import APIError

    try:
        thing.remove(**options)
    except APIError as error:  # another notebook sweeps, too, and so does the engine itself
        in_progress = "already in progress" in (error.explanation or "")
        if not in_progress and not is_gone(error):
            raise
