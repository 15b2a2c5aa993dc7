"""Several containers of one image, as kernel and engine show them: what each has of its own.

The folder that a container writes into is found in its own mount table: the `upperdir` of the
overlay that is its root.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.errors import NotMounted, ProcessGone
from labsupport.linux.mounts import mounts
from labsupport.linux.procfs import status

if TYPE_CHECKING:
    from docker.models.containers import Container

_KINDS = ("changed", "added", "deleted")  # as the engine's API numbers them


@dataclass(frozen=True)
class Instance:
    """A running container at one moment.

    `image_id` says what it was made of. `pid` is its first process's number on the engine's
    machine, `pids` that process's numbers in each PID namespace that it lives in (empty where its
    kernel is not ours). `upper` is the folder of its writable layer, `written` {path: bytes} of the
    files in there; None where they cannot be read. `changes` are (kind, path) as the engine tells
    them, kind one of `added`, `changed` and `deleted`.
    """

    name: str
    short_id: str
    image_id: str
    pid: int
    pids: tuple[int, ...]
    upper: str | None
    written: dict[str, int] | None
    changes: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        inside = f", {self.pids[-1]} inside" if self.pids else ""
        paths = ", ".join(path for _, path in self.changes) or "nothing"
        return f"<{self.name}: PID {self.pid}{inside}; wrote {paths}>"


def instances(containers: Iterable[Container]) -> list[Instance]:
    """Look at running containers."""
    return [_instance(container) for container in containers]


def _instance(container: Container) -> Instance:
    container.reload()
    attributes = container.attrs
    pid = int(attributes["State"]["Pid"])
    upper = upper_of(pid, str(container.id))
    return Instance(
        name=str(container.name),
        short_id=str(container.short_id),
        image_id=str(attributes["Image"]),
        pid=pid,
        pids=_numbers(pid, str(container.id)),
        upper=upper,
        written=None if upper is None else files_in(upper),
        changes=_changes(container),
    )


def _changes(container: Container) -> tuple[tuple[str, str], ...]:
    told: list[dict[str, Any]] = container.diff() or []  # None: nothing
    return tuple((_KINDS[each["Kind"]], each["Path"]) for each in told)


def upper_of(pid: int, identity: str) -> str | None:
    """Return the folder that a container writes into; None if it cannot be told from here."""
    try:
        if not _is_here(pid, identity):
            return None
        options = mounts(pid).at("/").super_options
    except (ProcessGone, NotMounted):  # it belongs to somebody else; or it has no root of its own
        return None
    found = dict(option.partition("=")[::2] for option in options).get("upperdir")
    return found if found and os.access(found, os.R_OK) else None


def files_in(folder: str) -> dict[str, int]:
    """Return {path: bytes} of the regular files in a folder, as paths of the container."""
    root = Path(folder)
    return {
        f"/{path.relative_to(root)}": path.lstat().st_size
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _numbers(pid: int, identity: str) -> tuple[int, ...]:
    try:
        return status(pid).pids if _is_here(pid, identity) else ()
    except ProcessGone:
        return ()


def _is_here(pid: int, identity: str) -> bool:
    """Whether the number is that of the container's process here, not of somebody else's."""
    file = Path(f"/proc/{pid}/cgroup")
    return file.exists() and identity in file.read_text()
