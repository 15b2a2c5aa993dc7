"""What is in an engine, and whose: images, containers, networks, volumes; and removing our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsupport.engine import listing
from labsupport.engine.listing import COURSE, IMAGE_OWNER, OWNER
from labsupport.errors import LabError
from labsupport.ownership import marks

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

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

    try:
        _remove(engine, thing)
    except NotFound:  # it went with another: a parent of an image, an auto-removed container
        return True
    except APIError as error:
        if error.status_code != 409:  # in use
            raise
        return False
    return True


def _remove(engine: Engine, thing: Thing) -> None:
    client: Any = engine.client
    if thing.kind == "image":
        client.images.remove(thing.key, force=True)
    elif thing.kind == "container":
        client.containers.get(thing.key).remove(force=True, v=True)
    else:
        kind = client.networks if thing.kind == "network" else client.volumes
        kind.get(thing.key).remove()


def _read(engine: Engine) -> Iterator[Thing]:
    api: Any = engine.client.api
    for it in api.containers(all=True):
        name = it["Names"][0].lstrip("/")
        yield Thing("container", it["Id"], name, _whose(it["Labels"]))
    for it in listing.images(engine.client):
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
