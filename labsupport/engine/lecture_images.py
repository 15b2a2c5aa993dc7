"""The public images that the lecture uses: pulled where they can be, refused soon where not.

No notebook depends on them; the course's own base image can be made everywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING

from labsupport.engine import shipping_refusals
from labsupport.errors import ImageForAnotherCpu, RegistryOutOfReach, nearest

if TYPE_CHECKING:
    from docker.models.images import Image

    from labsupport.engine.client import Engine

# Podman asks nobody what a short name might stand for, so these are whole
NAMES = {
    "alpine": "docker.io/library/alpine:latest",
    "ubuntu": "docker.io/library/ubuntu:latest",
    "python": "docker.io/library/python:3.11-slim-buster",
}
SILENCE_SECONDS = 15
"""So long nothing may be heard of a pull: a registry out of reach is no reason to wait."""


def lecture_image(engine: Engine, name: str) -> Image:
    """Return an image of the lecture, `"alpine"`, `"ubuntu"` or `"python"`; pulled if need be.

    Raises:
        ShippingRefused: it is not here, and could not be pulled; its subclasses say why:
            `RegistryOutOfReach`, `RateLimited`, `NotThere`.
        ImageForAnotherCpu: it is here, but its programs cannot run.
        ValueError: the lecture has no image of that name.

    """
    from docker.errors import ImageNotFound

    if name not in NAMES:
        raise ValueError(f"{name!r} is none of the lecture's images; {nearest(name, NAMES)}")
    try:
        image = engine.client.images.get(NAMES[name])
    except ImageNotFound:
        _pull(engine, NAMES[name])
        image = engine.client.images.get(NAMES[name])
    check_cpu(engine, image)
    return image


def check_cpu(engine: Engine, image: Image) -> None:
    """Raise `ImageForAnotherCpu` if the image's programs are not for the engine's processor."""
    made_for = image.attrs["Architecture"]
    if made_for != engine.cpu:
        name = (image.tags or [image.short_id])[0]
        raise ImageForAnotherCpu(
            f"the programs in {name} cannot run here",
            f"they are for {made_for}, and the engine's machine is {engine.cpu}",
            f"docker pull --platform linux/{engine.cpu} {name}",
        )


def _pull(engine: Engine, name: str) -> None:
    """Pull an image. The SDK's own `pull` would wait as long as the engine does, minutes maybe."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout

    if os.environ.get("LAB_IN_VM") == "1":
        raise _out_of_reach(name, "the Lab VM has no network to the outside")
    try:
        refusal = next(_refusals(engine, name), "")
    except (Timeout, NoConnection) as error:  # the second, when it falls silent in the middle
        raise _out_of_reach(name, f"nothing was heard of it for {SILENCE_SECONDS} s") from error
    if refusal:
        raise shipping_refusals.read("pull", name, refusal)


def _refusals(engine: Engine, name: str) -> Iterator[str]:
    """Have it pulled to its end, and yield what went wrong: `POST /images/create`."""
    from docker import auth

    api = engine.client.api
    repository, _, tag = name.rpartition(":")
    registry, _ = auth.resolve_repository_name(repository)
    login = auth.get_config_header(api, registry)
    with api.post(
        f"{api.base_url}/v{api.api_version}/images/create",
        params={"fromImage": repository, "tag": tag},
        headers={"X-Registry-Auth": login} if login else {},
        stream=True,
        timeout=SILENCE_SECONDS,
    ) as answer:
        if answer.status_code != HTTPStatus.OK:
            yield answer.json()["message"]
            return
        events = (json.loads(line) for line in answer.iter_lines() if line.strip())
        yield from (event["error"] for event in events if "error" in event)


def _out_of_reach(name: str, why: str) -> RegistryOutOfReach:
    remedy = "go on with the course's own: engine.base_image()"
    return RegistryOutOfReach(f"docker pull {name}", why, remedy)
