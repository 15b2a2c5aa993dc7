"""What is in an engine, and whose: images, containers, networks, volumes; and removing our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsupport.engine import listing
from labsupport.engine.held import HeldContainer
from labsupport.engine.labels import COURSE, OWNER, owner_labels
from labsupport.errors import NameTaken

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

MINE, THE_COURSES, ANOTHERS, SOMEBODYS = (
    "this notebook's", "the course's", "another notebook's", "not ours",
)  # fmt: skip
KINDS = ("container", "image", "network", "volume")
_BUILT_IN = ("bridge", "host", "none", "podman")


@dataclass(frozen=True)
class Thing:
    """Something in an engine. `bytes` is an image's size, `state` a container's; `whose` by label.

    `key` tells it from others of its kind: an ID, or a volume's name.
    """

    kind: str
    key: str
    name: str
    whose: str
    bytes: int = 0
    state: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells it from all else; the name belongs to it, too: an image can lose it."""
        return self.kind, self.key, self.name

    @property
    def short(self) -> str:
        """The key as `docker` shows it: twelve digits of an ID."""
        return self.key.removeprefix("sha256:")[:12]

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
        """Return what belongs to one of `owners`."""
        return tuple(thing for thing in self.things if thing.whose in owners)

    @property
    def mine(self) -> tuple[Thing, ...]:
        """What carries the label of this notebook."""
        return self.whose(MINE)

    @property
    def others(self) -> tuple[Thing, ...]:
        """All the rest."""
        return tuple(thing for thing in self.things if thing.whose != MINE)

    @property
    def identities(self) -> frozenset[tuple[str, str, str]]:
        """Those of all things: two moments are compared by them."""
        return frozenset(thing.identity for thing in self.things)


def require_free(engine: Engine, *names: str) -> None:
    """Make sure that no image of somebody else's loses one of these names to a build of ours.

    Raises:
        NameTaken: an image has it that this notebook has not made.

    """
    for thing in Belongings.of(engine).others:
        for name in names:
            if thing.kind == "image" and name in thing.name.split(", "):
                raise NameTaken(
                    f"there is an image {name} already",
                    f"it is {thing.whose}; a build of that name would take it away from it",
                    f"give it another one: docker tag {name} my-{name}; docker rmi {name}",
                )


def stranger(engine: Engine) -> HeldContainer:
    """Start a container that carries no label of ours, as if it were somebody else's.

    It ends with its `close()`, or with us; see `HeldContainer`.
    """
    return HeldContainer(engine, labels={OWNER: ""})  # it would inherit its image's


def clean_up(engine: Engine) -> tuple[Thing, ...]:
    """Remove what carries this notebook's label, and return it; nothing else is touched.

    It is `docker container|image|network|volume prune --filter label=…`, but for running
    containers, too. An image that a container of somebody else's uses stays.
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
    elif thing.kind == "network":
        client.networks.get(thing.key).remove()
    else:
        client.volumes.get(thing.key).remove()


def _read(engine: Engine) -> Iterator[Thing]:
    client: Any = engine.client
    for found in client.api.containers(all=True):
        name = found["Names"][0].lstrip("/")
        whose = _whose(found["Labels"])
        yield Thing("container", found["Id"], name, whose, state=found["Status"])
    for found in listing.images(client):
        names = sorted(_names(found["RepoTags"]))
        whose = _whose(found["Labels"])
        yield Thing("image", found["Id"], ", ".join(names), whose, bytes=found["Size"])
    for found in client.api.networks():
        if found["Name"] not in _BUILT_IN:
            yield Thing("network", found["Id"], found["Name"], _whose(found["Labels"]))
    for found in client.api.volumes()["Volumes"] or ():
        yield Thing("volume", found["Name"], found["Name"], _whose(found["Labels"]))


def _names(tags: Iterable[str] | None) -> list[str]:
    return [tag for tag in tags or () if tag != "<none>:<none>"] or ["<none>"]


def _whose(labels: dict[str, str] | None) -> str:
    owner = (labels or {}).get(OWNER)
    if not owner:
        return SOMEBODYS
    if owner == owner_labels()[OWNER]:
        return MINE
    return THE_COURSES if owner == COURSE else ANOTHERS
