"""Stopping and ending what runs in a group, and removing the group; freezer and `cgroup.kill`."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from labsupport.errors import CgroupRefused, MissingController, TimedOut
from labsupport.linux.cgroup.folder import Folder, get, refusal

SECONDS = 5.0  # a program that waits for a throttled disk dies only after that


def freezer_of(folders: Sequence[Folder]) -> Folder:
    """Return the folder whose files freeze the group: any of v2, or that on v1's freezer tree.

    Raises:
        MissingController: neither is there.

    """
    for folder in folders:
        if folder.version == 2 or folder.has("freezer.state"):
            return folder
    raise MissingController(
        "groups cannot be frozen here",
        "the v1 controller freezer is not mounted",
        "as root: mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer",
    )


def freeze(folder: Folder) -> None:
    """Stop everything in the group, and wait until it stands still."""
    if folder.version == 2:
        folder.write("cgroup.freeze", "1", "Freeze the group")
        until(lambda: folder.pairs("cgroup.events")["frozen"] == 1, f"{folder.path} is not frozen")
    else:
        folder.write("freezer.state", "FROZEN", "Freeze the group")
        until(lambda: folder.read("freezer.state") == "FROZEN", f"{folder.path} is not frozen")


def thaw(folder: Folder) -> None:
    """Let everything in the group run again."""
    if folder.version == 2:
        folder.write("cgroup.freeze", "0", "Thaw the group")
    else:
        folder.write("freezer.state", "THAWED", "Thaw the group")


def is_frozen(folder: Folder) -> bool:
    """Tell whether the group stands still, by its own file or that of a group above."""
    if folder.version == 2:
        return folder.pairs("cgroup.events")["frozen"] == 1
    return folder.read("freezer.state") == "FROZEN"


def kill(folders: Sequence[Folder]) -> None:
    """End everything in the group and in those below it, and wait until it is gone.

    A fork bomb is faster than a loop of kill(2). v2 has `cgroup.kill` for it (Linux 5.14); without
    it the group is frozen first, killed while it stands still, and thawed to die.
    """
    pids = members(folders)
    if not pids:
        return
    if os.getpid() in pids:
        raise CgroupRefused(
            "the group was not killed",
            "this notebook's own process is in it",
            "move it out: leave the `with` block, or write its PID to another group's cgroup.procs",
        )
    whole = next((f for f in folders if f.version == 2 and f.has("cgroup.kill")), None)
    if whole is None:
        _kill_one_by_one(folders)
    else:
        while_still(
            folders, lambda: whole.write("cgroup.kill", "1", "Kill everything in the group")
        )
    until(lambda: _is_empty(folders), f"programs in {folders[0].path} have not ended")


def _is_empty(folders: Sequence[Folder]) -> bool:
    """Tell whether the last one has left: it is missing from cgroup.procs before that."""
    populated = any(f.pairs("cgroup.events")["populated"] for f in folders if f.version == 2)
    return not populated and not members(folders)


def while_still(folders: Sequence[Folder], end: Callable[[], None]) -> None:
    """Call what ends programs of the group while, on v2, none of them is inside a system call.

    User-Mode Linux (seen with 6.12) panics when a process is killed in the middle of fork(2): its
    `flush_tlb_mm` walks over the mark that a copy given up halfway leaves. On v1 what is frozen
    cannot end, so there it is only called.
    """
    whole = next((folder for folder in folders if folder.version == 2), None)
    if whole is None or is_frozen(whole):
        end()
        return
    freeze(whole)
    try:
        end()
    finally:
        thaw(whole)


def _kill_one_by_one(folders: Sequence[Folder]) -> None:
    try:
        freezer = freezer_of(folders)
    except MissingController:  # then the loop must win the race against forks, and it may
        until(lambda: not _signal(members(folders)), f"programs in {folders[0].path} go on")
        return
    while members(folders):
        freeze(freezer)
        _signal(members(folders))
        thaw(freezer)
        time.sleep(0.001)


def _signal(pids: Iterable[int]) -> bool:
    """Kill each, and tell whether there was any."""
    any_left = False
    for pid in pids:
        any_left = True
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return any_left


def members(folders: Sequence[Folder]) -> set[int]:
    """Return the PIDs in the group and in those below it; 0 is one that we cannot see."""
    found: set[int] = set()
    for folder in folders:
        for path in _tree(os.fspath(folder.path)):
            try:
                found.update(map(int, get(f"{path}/cgroup.procs").split()))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # it has just been removed
                    raise refusal(error, Path(path, "cgroup.procs"), "read") from error
    return found


def _tree(top: str) -> list[str]:
    """Return the folder and those below it, the deepest first."""
    try:
        if os.stat(top).st_nlink == 2:  # itself and its name above: there are none below
            return [top]
    except FileNotFoundError:
        return []
    return [path for path, _, _ in os.walk(top, topdown=False)]


def remove(folders: Sequence[Folder]) -> None:
    """Remove the group, and those below it first. It must be empty."""
    for folder in folders:
        folder.close()
        for path in _tree(os.fspath(folder.path)):
            until(partial(_removed, path), f"{path} cannot be removed")


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:  # the last program is on its way out
            raise refusal(error, Path(path), "remove") from error
        return False
    return True


def until(true: Callable[[], bool], complaint: str, seconds: float = SECONDS) -> None:
    """Wait until something is so, looking ever more seldom.

    Raises:
        TimedOut: it is not so after `seconds`.

    """
    end, pause = time.monotonic() + seconds, 0.0002
    while not true():
        if time.monotonic() > end:
            raise TimedOut(
                complaint,
                f"waited for {seconds:g} s",
                "see what it does: ps -eo pid,stat,wchan,args",
            )
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
