"""Containers and networks whose owner has ended: found by their label, and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import docker
from docker.errors import NotFound

from labsupport.engine import finding
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
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        if is_left(container.labels.get(OWNER, "")):
            yield Leftover(f"container {container.name}", partial(_remove, container, force=True))
    for network in client.networks.list(filters=mine):
        if is_left((network.attrs.get("Labels") or {}).get(OWNER, "")):
            yield Leftover(f"network {network.name}", partial(_remove, network))


def _remove(thing: Any, **options: bool) -> None:
    with contextlib.suppress(NotFound):  # another notebook sweeps, too
        thing.remove(**options)
