"""What an engine has, listed also while somebody else removes some of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container

TRIES = 20
GONE = ("not known", "no such container")  # Podman's words for what has just gone


def images(client: DockerClient, **options: Any) -> list[dict[str, Any]]:
    """Return what `GET /images/json` answers; `options` are those of the Docker SDK."""
    return _listed(client.api.images, options)


def containers(client: DockerClient, **options: Any) -> list[Container]:
    """Return the containers; `options` are those of `GET /containers/json`.

    As the SDK's `list(ignore_removed=True)`, which does not know Podman's answer.
    """
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
    """Say whether the engine refused because the thing does not exist (any more).

    Where it had the thing at the beginning of the request, Podman calls that an error of its own.
    """
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
