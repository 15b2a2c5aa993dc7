"""Where a new group can go: for each controller a tree, and a group above that we may write to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import CgroupRefused, MissingController
from labsupport.linux.cgroup import delegation
from labsupport.linux.cgroup.hierarchies import V1_NAME, Hierarchy, trees, words

LAB_VM = "or run the notebook in the Lab VM (kernel “Lab VM”), where you are root"


@dataclass(frozen=True)
class Place:
    """The group below which a new one goes, on the tree of one controller."""

    tree: Hierarchy
    parent: Path


def choose(required: Iterable[str]) -> dict[str, Place]:
    """Return {controller: place} for what is required, and for what else there is.

    Raises:
        MissingController: groups here do not have a controller that is required.
        CgroupRefused: this user may make no groups.
        InternalProcesses: v2 would hand the controller down only without processes of ours.

    """
    required = set(required)
    known = trees()
    for name in sorted(required - known.keys()):
        raise no_controller(name)
    v1 = {name: tree for name, tree in known.items() if tree.version == 1}
    found = {name: Place(tree, next(_writable(tree))) for name, tree in v1.items()}
    if v2 := known.keys() - v1.keys():
        found |= _on_v2(known[min(v2)], v2, required & v2)
    return found


def _on_v2(tree: Hierarchy, there: set[str], required: set[str]) -> dict[str, Place]:
    """Prefer the group above us that hands down the most, and of those the nearest."""
    folders = list(_writable(tree))
    best = max(folders, key=lambda folder: len(_handed_down(folder) & there))
    if not required <= _handed_down(best):
        best = delegation.hand_down_somewhere(folders, required)
    return {name: Place(tree, best) for name in _handed_down(best) & there} or {
        "": Place(tree, best)
    }


def _handed_down(folder: Path) -> set[str]:
    return set(words(folder / "cgroup.subtree_control"))


def _writable(tree: Hierarchy) -> Iterator[Path]:
    """Yield the groups above a new one, the nearest first; at least one, or say why there is none.

    Raises:
        CgroupRefused: this user may make no group on this tree.

    """
    any_found = False
    for folder in () if tree.read_only else tree.parents():
        if os.access(folder, os.W_OK):
            any_found = True
            yield folder
    if not any_found:
        raise _not_writable(tree)


def _not_writable(tree: Hierarchy) -> CgroupRefused:
    if tree.read_only:
        return CgroupRefused(
            f"no group can be made in {tree.mount}",
            "it is mounted read-only, as in an ordinary container",
            f"start the container with --privileged; {LAB_VM}",
        )
    remedy = "run ./lab as root" if tree.version == 1 else delegation.REMEDY
    return CgroupRefused(
        f"this user may make no group below {tree.own}",
        "its folder belongs to somebody else",
        f"{remedy}; {LAB_VM}",
    )


def no_controller(name: str) -> MissingController:
    """Say that no tree has this controller, and whether the kernel knows it at all."""
    v1_name = V1_NAME.get(name, name)
    known = [line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    if v1_name in known:
        why = "the kernel has it, but it is not mounted, or not handed down to this machine"
    else:
        why = "this kernel was built or started without it"
    return MissingController(
        f"groups here have no controller {name}", why, f"./lab doctor; {LAB_VM}"
    )
