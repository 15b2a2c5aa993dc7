"""Several containers of one image, as kernel and engine show them: what each has of its own.

The folder that a container writes into is found in its own mount table: the `upperdir` of the
overlay that is its root. The picture has what they share below, and what each has of its own above.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.errors import NotMounted, ProcessGone
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import amount
from labsupport.kernel.mounts import mounts
from labsupport.kernel.procfs import status

if TYPE_CHECKING:
    from docker.models.containers import Container

KINDS = ("changed", "added", "deleted")  # as the engine's API numbers them


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
    told: list[dict[str, Any]] = container.diff() or []  # None: nothing
    return Instance(
        name=str(container.name),
        short_id=str(container.short_id),
        image_id=str(attributes["Image"]),
        pid=pid,
        pids=_numbers(pid, str(container.id)),
        upper=upper,
        written=None if upper is None else files_in(upper),
        changes=tuple((KINDS[each["Kind"]], each["Path"]) for each in told),
    )


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


INCHES = 9.6
TOP, PROCESS, LAYER, IMAGE, GAP, BOTTOM = 8.2, 11.4, 15.6, 8.4, 1.6, 2.0
MOST_FILES = 4
LONGEST_PATH = 24  # characters


def finding(instances: Sequence[Instance]) -> str:
    """Say in one line what the picture shows."""
    images = len({each.image_id for each in instances})
    pids = len({each.pid for each in instances})
    different = len({each.changes for each in instances})
    one = "One image" if images == 1 else f"{images} images"
    wrote = f"{different} different writable layers" if different > 1 else "nothing different yet"
    return f"{one}, {len(instances)} containers: {pids} processes, {wrote}"


def words(instances: Sequence[Instance], image: str, layers: int) -> str:
    """Say all of it: the picture's text alternative."""
    told = [
        f"{each.name} (PID {each.pid}{_inside(each)}) wrote {', '.join(_lines(each, 99))}."
        for each in instances
    ]
    below = f"Below all of them lies the image {image}, read-only: {_many(layers)}."
    return " ".join([f"{finding(instances)}.", *told, below])


def table(instances: Sequence[Instance]) -> list[tuple[object, ...]]:
    """Return a row for each container."""
    head = ("container", "ID", "image", "PID", "PID inside", "writable layer", "changed in it")
    return [head, *map(_row, instances)]


def _row(each: Instance) -> tuple[object, ...]:
    inside = each.pids[-1] if each.pids else "?"
    folder = "…/" + "/".join(each.upper.split("/")[-3:]) if each.upper else "cannot be read here"
    changed = ", ".join(f"{kind} {path}" for kind, path in each.changes) or "nothing"
    return (each.name, each.short_id, _short_id(each), each.pid, inside, folder, changed)


def _short_id(each: Instance) -> str:
    return each.image_id.removeprefix("sha256:")[:12]


def _many(layers: int) -> str:
    return "1 layer" if layers == 1 else f"{layers} layers"


def _inside(each: Instance) -> str:
    return f", {each.pids[-1]} inside" if each.pids else ""


def _lines(each: Instance, most: int = MOST_FILES) -> list[str]:
    """What the writable layer holds: its files, or what the engine tells."""
    if each.written is None:
        held = [f"{_short(path)} {kind}" for kind, path in each.changes if kind != "deleted"]
    else:
        held = [f"{_short(path)}  {amount(size)}" for path, size in each.written.items()]
    lines = held + [f"{path} deleted" for kind, path in each.changes if kind == "deleted"]
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} more"] if rest > 0 else [])] or ["nothing yet"]


def _short(path: str) -> str:
    return path if len(path) <= LONGEST_PATH else "…" + path[1 - LONGEST_PATH :]


def page(instances: Sequence[Instance], image: str, layers: int) -> Page:
    """Draw the containers on their image."""
    top = TOP + PROCESS + LAYER + 2 * GAP
    sheet = Page(top + IMAGE + BOTTOM, finding(instances), inches=INCHES)
    wide = 97.6 / len(instances)
    for number, each in enumerate(instances):
        _draw_container(sheet, each, 1.2 + number * wide, wide - 1.4, style.WHO[number % 3])
    sheet.box(1.2, top, 96.2, IMAGE, style.SHARED, fill=f"{style.SHARED}22")
    sheet.text(49.3, top + 2.8, f"image {image}", "body", bold=True, centre=True)
    identity = ", ".join(sorted({_short_id(each) for each in instances}))
    told = f"{identity}: {_many(layers)}, read-only, shared by all"
    sheet.text(49.3, top + 5.6, told, centre=True)
    return sheet


def _draw_container(sheet: Page, each: Instance, left: float, wide: float, colour: str) -> None:
    middle = left + wide / 2
    sheet.box(left + 2.4, TOP, wide - 4.8, PROCESS, colour, fill=f"{colour}55")
    inside = f"inside: PID {each.pids[-1]}" if each.pids else "on another kernel"
    sheet.text(middle, TOP + 2.6, each.name, "body", bold=True, centre=True)
    sheet.text(middle, TOP + 5.5, f"PID {each.pid}", centre=True)
    sheet.text(middle, TOP + 8.4, inside, centre=True)
    top = TOP + PROCESS + GAP
    sheet.box(left, top, wide, LAYER, colour, fill=f"{colour}22")
    sheet.text(left + 1.4, top + 2.0, "writable layer, its own", bold=True)
    for at, line in enumerate(_lines(each)):
        sheet.text(left + 1.4, top + 4.6 + at * 2.2, line, mono=True)


def show_instances(instances: Sequence[Instance], image: str, layers: int) -> None:
    """Show the picture in the notebook, with its words and the table behind it."""
    page(instances, image, layers).show(words(instances, image, layers), table(instances))
