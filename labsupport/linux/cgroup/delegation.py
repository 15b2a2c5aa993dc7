"""cgroup v2: controllers are handed down by `cgroup.subtree_control`, and EBUSY is its rule.

A group's controllers are switched on by the group above it, and only a group without processes of
its own may do so (the topmost is exempt). Who was given a group (systemd's `Delegate=yes`) may
arrange what is below as they like: move its processes into a group of their own, then hand down.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from labsupport.errors import CgroupRefused, InternalProcesses, LabError, MissingController
from labsupport.linux.cgroup.folder import put, refusal
from labsupport.linux.cgroup.hierarchies import words

SWITCH = "cgroup.subtree_control"
PROGRAMS = "labsupport-programs"  # where the processes of a delegated group go
REMEDY = "systemd-run --user --scope -p Delegate=yes ./lab"


def hand_down(folder: Path, controllers: Iterable[str]) -> None:
    """Switch controllers on for the groups below this one.

    Raises:
        MissingController: the group does not have one of them itself.
        InternalProcesses: the group has processes.
        CgroupRefused: it is not ours.

    """
    missing = sorted(set(controllers) - set(words(folder / SWITCH)))
    if not missing:
        return
    line = " ".join(f"+{name}" for name in missing)
    try:
        put(folder / SWITCH, line)
    except OSError as error:
        if error.errno == errno.ENOENT:
            on = ", ".join(words(folder / "cgroup.controllers")) or "none"
            raise MissingController(
                f"{folder} cannot hand down {', '.join(missing)}",
                f"it was itself given: {on}",
                f"as root, in the group above: echo {line} > {folder.parent / SWITCH}",
            ) from error
        raise refusal(error, folder / SWITCH, f"write {line!r} to") from error


def hand_down_somewhere(folders: Sequence[Path], controllers: Iterable[str]) -> Path:
    """Return the first of these groups (nearest first) that can be made to hand controllers down.

    Where our own group was delegated to us, its processes move to a group of their own below it.
    Raises what the nearest group said, if none can.
    """
    controllers = set(controllers)
    said: list[LabError] = []
    for folder in folders:
        try:
            if said == [] and is_delegated(folder):
                make_room(folder)
            hand_down(folder, controllers)
        except (MissingController, InternalProcesses, CgroupRefused) as error:
            said.append(error)
        else:
            return folder
    busy = next((error for error in said if isinstance(error, InternalProcesses)), None)
    if busy:
        raise InternalProcesses(busy.group, REMEDY) from busy
    raise said[0]


def is_delegated(folder: Path) -> bool:
    """Tell whether this group was given to us: systemd marks those; systemd.resource-control(5)."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):  # no such mark, or not for our eyes
            if os.getxattr(folder, name) == b"1":
                return folder.stat().st_uid == os.geteuid()
    return False


def make_room(folder: Path) -> Path:
    """Move the processes of a delegated group into a group below it, and return that.

    More may be forked while we do, so it is done until none is left.
    """
    room = folder / PROGRAMS
    room.mkdir(exist_ok=True)
    while pids := words(folder / "cgroup.procs"):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                put(room / "cgroup.procs", pid)
    return room
