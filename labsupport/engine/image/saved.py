"""Stream an image out of an engine, as `docker save` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from docker.errors import APIError, ImageNotFound
from requests.exceptions import RequestException

from labsupport.engine import listing
from labsupport.errors import EngineFailed, ImageMissing, nearest

if TYPE_CHECKING:
    from docker import DockerClient


def chunks(client: DockerClient, name: str) -> Iterator[bytes]:
    """Yield the archive of an image; raises `ImageMissing` or `EngineFailed`."""
    try:
        image = client.images.get(name)
        asked = next((tag for tag in (name, f"{name}:latest") if tag in image.tags), None)
        yield from image.save(named=asked or bool(image.tags))
    except ImageNotFound as error:
        tags = [tag for image in listing.images(client) for tag in image["RepoTags"] or ()]
        raise ImageMissing(f"the engine has no image {name!r}", nearest(name, tags)) from error
    except (APIError, RequestException) as error:
        raise EngineFailed(f"the image {name!r} could not be saved", str(error)) from error
