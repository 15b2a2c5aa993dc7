"""What an engine has, who owns it, and what was left behind by an owner that has ended.

Everything that we make in an engine carries a label: who made it, so that its end can be told.
Images have one of their own, for a container gets its image's labels, too, whoever starts it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
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

    from labsupport.engine.client import Engine

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
        yield Leftover(f"container {container.name}", partial(remove, container, force=True))
    for network in client.networks.list(filters={"label": OWNER}):
        if not marks.is_alive((network.attrs.get("Labels") or {}).get(OWNER, "")):
            yield Leftover(f"network {network.name}", partial(remove, network))
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


def remove(thing: Any, **options: bool) -> None:
    """Remove a container or network; it may have gone meanwhile, or be just going."""
    from docker.errors import APIError

    try:
        thing.remove(**options)
    except APIError as error:  # another notebook sweeps, too, and so does the engine itself
        in_progress = "already in progress" in (error.explanation or "")
        if not in_progress and not is_gone(error):
            raise


# --- what is in an engine, and whose; and removing our own ---------------------------------------


MINE, THE_COURSES = "this notebook's", "the course's"
ANOTHERS, SOMEBODYS = "another notebook's", "not ours"
NAMELESS = "<none>:<none>"
BUILT_IN = ("bridge", "host", "none", "podman")


@dataclass(frozen=True)
class Thing:
    """Something in an engine: its kind, its ID (or a volume's name) as `key`, and its owner."""

    kind: str
    key: str
    name: str
    whose: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells it from all else; the name belongs to it, too: an image can lose it."""
        return self.kind, self.key, self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.whose})"


@dataclass(frozen=True)
class Belongings:
    """All that was in an engine at one moment, containers first."""

    things: tuple[Thing, ...]

    @classmethod
    def of(cls, engine: Engine) -> Belongings:
        """Ask the engine; what comes with every engine (its three networks) is left out."""
        return cls(tuple(_read(engine)))

    def whose(self, *owners: str) -> tuple[Thing, ...]:
        return tuple(thing for thing in self.things if thing.whose in owners)

    @property
    def mine(self) -> tuple[Thing, ...]:
        """What carries the label of this notebook."""
        return self.whose(MINE)

    @property
    def identities(self) -> frozenset[tuple[str, str, str]]:
        """Those of all things: two moments are compared by them."""
        return frozenset(thing.identity for thing in self.things)


def require_free(engine: Engine, *names: str) -> None:
    """Make sure that no image of somebody else's loses one of these names to a build of ours.

    Raises `LabError`: an image that this notebook did not make has it.
    """
    theirs = [each for each in Belongings.of(engine).things if each.whose != MINE]
    for thing in theirs:
        for name in names:
            if thing.kind == "image" and name in thing.name.split(", "):
                why = f"it is {thing.whose}; a build of that name would take the name away from it"
                remedy = f"give it another one: docker tag {name} my-{name}; docker rmi {name}"
                raise LabError(f"there is an image {name} already", why, remedy)


def clean_up(engine: Engine) -> tuple[Thing, ...]:
    """Remove what carries this notebook's label, and return it; nothing else is touched.

    It is `docker container|image|network|volume prune --filter label=…`, and running containers are
    removed too. An image that a container of somebody else's uses stays.
    """
    gone: list[Thing] = []
    last: tuple[Thing, ...] = ()
    # containerd's store shows what an image was made of only when that image has gone
    while (found := Belongings.of(engine).mine) != last:
        gone += [thing for thing in found if _let_go(engine, thing)]
        last = found
    return tuple(gone)


def _let_go(engine: Engine, thing: Thing) -> bool:
    """Remove it, unless it is in use; tell whether it has gone."""
    from docker.errors import APIError, NotFound

    client: Any = engine.client
    try:
        if thing.kind == "image":
            client.images.remove(thing.key, force=True)
        elif thing.kind == "container":
            client.containers.get(thing.key).remove(force=True, v=True)
        else:
            kind = client.networks if thing.kind == "network" else client.volumes
            kind.get(thing.key).remove()
    except NotFound:  # it went with another: a parent of an image, an auto-removed container
        return True
    except APIError as error:
        if error.status_code != 409:  # in use
            raise
        return False
    return True


def _read(engine: Engine) -> Iterator[Thing]:
    api: Any = engine.client.api
    for it in api.containers(all=True):
        name = it["Names"][0].lstrip("/")
        yield Thing("container", it["Id"], name, _whose(it["Labels"]))
    for it in images(engine.client):
        names = [tag for tag in it["RepoTags"] or () if tag != NAMELESS] or ["<none>"]
        whose = _whose(it["Labels"], IMAGE_OWNER)
        yield Thing("image", it["Id"], ", ".join(sorted(names)), whose)
    for it in api.networks():
        if it["Name"] not in BUILT_IN:
            yield Thing("network", it["Id"], it["Name"], _whose(it["Labels"]))
    for it in api.volumes()["Volumes"] or ():
        yield Thing("volume", it["Name"], it["Name"], _whose(it["Labels"]))


def _whose(labels: dict[str, str] | None, key: str = OWNER) -> str:
    owner = (labels or {}).get(key)
    if not owner:
        return SOMEBODYS
    if owner == marks.mark():
        return MINE
    return THE_COURSES if owner == COURSE else ANOTHERS
