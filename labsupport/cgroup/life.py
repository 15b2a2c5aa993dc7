"""A group's life: where it can be made, how it is frozen, ended and removed, and by what name.

On v2, controllers are handed down by `cgroup.subtree_control`: a group's controllers are switched
on by the group above it. Only a group without processes of its own hands down memory or io (EBUSY;
the root is exempt, and so are threaded controllers such as cpu and pids). A user who was given a
group (systemd's `Delegate=yes`) may arrange what is below it freely: move its processes into a
group of their own, then hand down.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from labsupport.cgroup.files import Folder, get, put, refusal
from labsupport.errors import (
    CgroupClosed,
    CgroupRefused,
    InternalProcesses,
    LabError,
    MissingController,
    TimedOut,
)
from labsupport.kernel.mounts import V1_NAME, Hierarchy, cgroup_mounts, trees, words
from labsupport.kernel.procfs import tries
from labsupport.ownership import marks

SWITCH = "cgroup.subtree_control"
PROGRAMS = "labsupport-programs"  # where the processes of a delegated group go
REMEDY = "systemd-run --user --scope -p Delegate=yes ./lab"
LAB_VM = "or run the notebook in the Lab VM (kernel “Lab VM”), where you are root"
SECONDS = 5.0  # a program that waits for a throttled disk dies only after that
FREEZER = {1: ("freezer.state", "FROZEN", "THAWED"), 2: ("cgroup.freeze", "1", "0")}
"""For each version the file, and what is written there to freeze and to thaw."""

# --- where it can be made ------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """The group below which a new one goes, on the tree of one controller."""

    tree: Hierarchy
    parent: Path


def choose(required: Iterable[str]) -> dict[str, Place]:
    """Return {controller: place} for what is required, and for what else there is.

    Raises `MissingController` (groups here do not have a controller that is required),
    `CgroupRefused` (this user may not make groups), `InternalProcesses` (v2 would hand the
    controller down only without processes of ours).
    """
    required = set(required)
    known = trees()
    for name in sorted(required - known.keys()):
        raise no_controller(name)
    v1 = {name: tree for name, tree in known.items() if tree.version == 1}
    found = {name: Place(tree, _writable(tree)[0]) for name, tree in v1.items()}
    if v2 := known.keys() - v1.keys():
        found |= _on_v2(known[min(v2)], v2, required & v2)
    return found


def _on_v2(tree: Hierarchy, there: set[str], required: set[str]) -> dict[str, Place]:
    """Prefer the group above us that hands down the most, and of those the nearest."""
    folders = _writable(tree)
    best = max(folders, key=lambda folder: len(_handed_down(folder) & there))
    if not required <= _handed_down(best):
        best = _hand_down_somewhere(folders, required)
    place = Place(tree, best)
    return dict.fromkeys(_handed_down(best) & there, place) or {"": place}


def _handed_down(folder: Path) -> set[str]:
    return set(words(folder / SWITCH))


def _writable(tree: Hierarchy) -> list[Path]:
    """Return the groups above a new one, the nearest first; at least one.

    Raises `CgroupRefused`: this user may not make a group on this tree.
    """
    if tree.read_only:
        why = "it is mounted read-only, as in an ordinary container"
        remedy = f"start the container with --privileged; {LAB_VM}"
        raise CgroupRefused(f"no group can be made in {tree.mount}", why, remedy)
    if found := [folder for folder in tree.parents() if os.access(folder, os.W_OK)]:
        return found
    why = "its folder belongs to somebody else"
    remedy = f"{'run ./lab as root' if tree.version == 1 else REMEDY}; {LAB_VM}"
    raise CgroupRefused(f"this user may not make a group below {tree.own}", why, remedy)


def _hand_down_somewhere(folders: Sequence[Path], controllers: set[str]) -> Path:
    """Return the first of these groups (nearest first) that can be made to hand controllers down.

    Where our own group was delegated to us, its processes move to a group of their own below it.
    Raises what the nearest group said, if none can.
    """
    said: list[LabError] = []
    for folder in folders:
        try:
            if said == [] and _is_delegated(folder):
                _make_room(folder)
            hand_down(folder, controllers)
        except (MissingController, InternalProcesses, CgroupRefused) as error:
            said.append(error)
        else:
            return folder
    if busy := next((error for error in said if isinstance(error, InternalProcesses)), None):
        raise InternalProcesses(busy.group, REMEDY) from busy
    raise said[0]


def _is_delegated(folder: Path) -> bool:
    """Tell whether this group was given to us: systemd marks those; systemd.resource-control(5)."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):  # no such mark, or we may not read it
            if os.getxattr(folder, name) == b"1":
                return folder.stat().st_uid == os.geteuid()
    return False


def _make_room(folder: Path) -> None:
    """Move the processes of a delegated group into a group below it."""
    # more may be forked while we do, so it is done until none is left
    room = folder / PROGRAMS
    room.mkdir(exist_ok=True)
    while pids := words(folder / "cgroup.procs"):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                put(room / "cgroup.procs", pid)


def hand_down(folder: Path, controllers: Iterable[str]) -> None:
    """Switch controllers on for the groups below this one.

    Raises `MissingController` (the group does not have one of them itself), `InternalProcesses`
    (the group has processes), `CgroupRefused` (it is not ours).
    """
    missing = sorted(set(controllers) - _handed_down(folder))
    if not missing:
        return
    line = " ".join(f"+{name}" for name in missing)
    try:
        put(folder / SWITCH, line)
    except OSError as error:
        if error.errno == errno.ENOENT:
            on = ", ".join(words(folder / "cgroup.controllers")) or "none"
            what = f"{folder} cannot hand down {', '.join(missing)}"
            remedy = f"as root, in the group above: echo {line} > {folder.parent / SWITCH}"
            raise MissingController(what, f"it was itself given: {on}", remedy) from error
        raise refusal(error, folder / SWITCH, f"write {line!r} to") from error


def no_controller(name: str) -> MissingController:
    """Say that no tree has this controller, and whether the kernel knows it at all."""
    known = [line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    why = "this kernel was built or started without it"
    if V1_NAME.get(name, name) in known:
        why = "the kernel has it, but it is not mounted, or not handed down to this machine"
    return MissingController(
        f"groups here have no controller {name}", why, f"./lab doctor; {LAB_VM}"
    )


# --- freezing, ending, removing ------------------------------------------------------------------


def freezer_of(folders: Sequence[Folder]) -> Folder:
    """Return the folder whose files freeze the group: any of v2, or that on v1's freezer tree.

    Raises `MissingController`: neither is there.
    """
    for folder in folders:
        if folder.version == 2 or folder.has("freezer.state"):
            return folder
    why = "the v1 controller freezer is not mounted"
    remedy = "as root: mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer"
    raise MissingController("groups cannot be frozen here", why, remedy)


def freeze(folder: Folder) -> None:
    """Stop everything in the group, and wait until it has stopped."""
    file, frozen, _ = FREEZER[folder.version]
    folder.write(file, frozen)
    until(lambda: is_frozen(folder), f"{folder.path} is not frozen")


def thaw(folder: Folder) -> None:
    """Let everything in the group run again."""
    file, _, thawed = FREEZER[folder.version]
    folder.write(file, thawed)


def is_frozen(folder: Folder) -> bool:
    """Tell whether the group is frozen, by its own file or that of a group above."""
    if folder.version == 2:
        return folder.number("cgroup.events", "frozen") == 1
    return folder.read("freezer.state") == "FROZEN"


def kill(folders: Sequence[Folder]) -> None:
    """End everything in the group and in those below it, and wait until it is gone.

    A fork bomb is faster than a loop of kill(2). v2 has `cgroup.kill` for it (Linux 5.14); without
    it the group is frozen first, killed while it is frozen, and thawed to die.
    """
    pids = members(folders)
    if not pids:
        return
    if os.getpid() in pids:
        why = "this notebook's own process is in it"
        remedy = "move it out: leave the `with` block, or write its PID to another cgroup.procs"
        raise CgroupRefused("the group was not killed", why, remedy)
    whole = next((f for f in folders if f.version == 2 and f.has("cgroup.kill")), None)
    if whole is None:
        _kill_one_by_one(folders)
    else:
        while_still(folders, partial(whole.write, "cgroup.kill", "1"))
    until(lambda: _is_empty(folders), f"programs in {folders[0].path} have not ended")


def _is_empty(folders: Sequence[Folder]) -> bool:
    """Tell whether the last one has left: it is missing from cgroup.procs before that."""
    on_v2 = [folder for folder in folders if folder.version == 2]
    populated = any(folder.number("cgroup.events", "populated") for folder in on_v2)
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
    until(partial(_kill_frozen, folders, freezer), f"programs in {folders[0].path} go on")


def _kill_frozen(folders: Sequence[Folder], freezer: Folder) -> bool:
    """Freeze, kill, and thaw; tell whether all have ended."""
    freeze(freezer)
    _signal(members(folders))
    file, _, thawed = FREEZER[freezer.version]
    for path in reversed(_tree(os.fspath(freezer.path))):  # one below may be frozen by itself
        put(f"{path}/{file}", thawed)
    return not members(folders)


def _signal(pids: set[int]) -> bool:
    """Kill each, and tell whether there was any."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


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


def until(true: Callable[[], bool], complaint: str) -> None:
    """Wait until a condition holds. Raises `TimedOut`."""
    for _ in tries(SECONDS, 0.001):
        if true():
            return
    remedy = "see what it does: ps -eo pid,stat,wchan,args"
    raise TimedOut(complaint, f"waited for {SECONDS:g} s", remedy)


# --- groups whose owner has ended: found by their names, ended, and removed ---------------------

_numbers = count(1)


def new_name(name: str = "") -> str:
    """Return a name for a group of this process: `labsupport-cgroup-PID-TIME-HOME-1`."""
    number = f"{next(_numbers)}-{name}" if name else str(next(_numbers))
    return f"{marks.prefix('cgroup')}{number}"


def find() -> Iterator[marks.Leftover]:
    """Find the groups of dead owners, in every mounted tree."""
    found: dict[str, list[Path]] = {}
    for folder, owner in _ours():
        if not marks.is_alive(owner):
            found.setdefault(folder.name, []).append(folder)
    for name, folders in found.items():
        yield marks.Leftover(f"cgroup {name}", partial(_remove, folders))


def _ours() -> Iterator[tuple[Path, str]]:
    """Yield the groups with our names that we may remove, and their marks; none below them."""
    # they are a notebook's own, or those of its engine's containers
    for kind, _, point, options in cgroup_mounts():
        if kind not in ("cgroup", "cgroup2") or "ro" in options:
            continue
        for path, inside, _ in os.walk(point):
            for named in filter(None, map(marks.OWNED_NAME.match, inside[:])):
                inside.remove(named.string)
                folder = Path(path, named.string)
                with contextlib.suppress(FileNotFoundError):  # another notebook sweeps as well
                    if os.geteuid() in (0, folder.stat().st_uid):
                        yield folder, ":".join(named.groups())


def _remove(paths: list[Path]) -> None:
    folders = [Folder(p, 2 if (p / "cgroup.type").exists() else 1) for p in paths if p.is_dir()]
    with contextlib.suppress(CgroupClosed):  # another notebook is sweeping as well
        kill(folders)
        remove(folders)
