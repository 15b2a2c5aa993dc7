"""The images of an engine, in one list, also while somebody else removes some of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

TRIES = 20


def images(client: DockerClient, **options: Any) -> list[dict[str, Any]]:
    """Return what `GET /images/json` answers; `options` are those of the Docker SDK.

    Podman gives up ("image not known") when an image goes while it is listed; it is asked again.
    """
    from docker.errors import APIError

    api: Any = client.api
    for _ in range(TRIES - 1):
        try:
            return [*api.images(**options)]
        except APIError as error:
            is_race = error.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
            if not is_race or "not known" not in str(error.explanation):
                raise
    return [*api.images(**options)]


def first_name(image: dict[str, Any]) -> str:
    """Return a name of a listed image, or the first digits of its ID."""
    names = [name for name in image["RepoTags"] or () if not name.startswith("<none>")]
    return names[0] if names else str(image["Id"].removeprefix("sha256:")[:12])
