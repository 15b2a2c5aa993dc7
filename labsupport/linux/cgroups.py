"""Control groups: limits that hold, for a program and all it starts; cgroup v1 and v2 alike.

A group is a folder in each cgroup tree of this machine: on v1 one tree for each controller, on v2
one for all. The kernel's files in it are the limits and the counters. Units are bytes, seconds and
shares of one CPU, whatever the files count in.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Any, Self

from labsupport import trace
from labsupport.errors import CgroupClosed
from labsupport.linux.cgroup import delegation, ending, leftovers, places, v1, v2, wanted
from labsupport.linux.cgroup.amounts import Amount
from labsupport.linux.cgroup.controllers import Controller
from labsupport.linux.cgroup.events import Event, Events
from labsupport.linux.cgroup.figures import Limits, Rates, Usage
from labsupport.linux.cgroup.folder import Folder, refusal
from labsupport.linux.cgroup.hierarchies import V1_NAME
from labsupport.linux.cgroup.places import Place
from labsupport.linux.cgroup.wanted import Disks

__all__ = ["Cgroup", "Event", "Events", "Limits", "Rates", "Usage"]

REMEMBERED = 200  # steps for `shell()`; a slider makes many
Keep = EllipsisType
"""`...` stands for "leave it as it is"."""


class Cgroup:
    """A control group, from `open()` to `close()`, or for a `with` block.

    Closing it ends every process inside. Limits that are not given are not set, as for any program.

    Args:
        memory: bytes, or `"64M"`.
        swap: bytes of swap beside that; 0: none.
        pids: the largest number of tasks (processes and threads).
        cpu: CPU time, in shares of one CPU: 0.2 is a fifth of one.
        cpu_weight: 1 to 10000 (100 is everybody's default): the share when CPUs are short.
        io: bytes per second for a disk, `{"/dev/loop0": "2M"}`, in each direction; or
            `{"/dev/loop0": {"read": "4M", "write": "1M"}}`.
        name: a word that its folders' names end in.

    Raises:
        BadAmount: a limit cannot be understood; the message tells the accepted forms.
        MissingController: groups here do not have a controller that a limit needs.
        CgroupRefused, InternalProcesses: the kernel refused; the message says why.

    """

    def __init__(
        self,
        *,
        memory: Amount | None = None,
        swap: Amount | None = None,
        pids: int | None = None,
        cpu: float | None = None,
        cpu_weight: int | None = None,
        io: Disks | None = None,
        name: str = "",
    ) -> None:
        given = {
            "memory": memory,
            "swap": swap,
            "pids": pids,
            "cpu": cpu,
            "cpu_weight": cpu_weight,
            "io": io,
        }
        self._wanted = wanted.understood({k: v for k, v in given.items() if v is not None})
        self.name = name
        self._parent: Cgroup | None = None
        self._children: list[Cgroup] = []
        self._when_ended: list[Callable[[], None]] = []
        self._places: dict[str, Place] = {}
        self._by_path: dict[Path, Folder] = {}
        self._controllers: list[Controller] = []
        self._steps: deque[trace.Step] = deque(maxlen=REMEMBERED)

    def open(self) -> Self:
        """Make the group and set its limits. A `with` statement does this, and `close()`."""
        _sweep_once()
        required = wanted.controllers_for(self._wanted)
        above = self._parent
        self._places = above._hand_down(required) if above else places.choose(required)
        name = self.name if above else leftovers.new_name(self.name)
        try:
            self._make_folders(name)
            self._controllers = list(_controllers(self._folder_of))
            self._limit(self._wanted)
        except BaseException:
            self.close()
            raise
        if above:
            above._children.append(self)
        return self

    def _make_folders(self, name: str) -> None:
        for place in self._places.values():
            path = place.parent / name
            if path in self._by_path:
                continue
            try:
                path.mkdir()
            except OSError as error:
                raise refusal(error, path, "make") from error
            self._note("Make the group", f"mkdir {path}")
            self._by_path[path] = Folder(path, place.tree.version, self._note)

    def _folder_of(self, controller: str) -> Folder | None:
        place = self._places.get(controller)
        if place is None:
            return None
        return next(f for f in self._by_path.values() if f.path.parent == place.parent)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        tb: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in the group and remove it; may be called twice."""
        for child in self._children[:]:
            child.close()
        if self._by_path:
            pids = ending.members(self._folders)
            if os.getpid() in pids:
                self._send_home(os.getpid())
            if pids:
                self._stop_throttling()
                ending.kill(self._folders)
            while self._when_ended:
                self._when_ended.pop()()
            ending.remove(self._folders)
        self._by_path, self._controllers = {}, []
        if self._parent and self in self._parent._children:
            self._parent._children.remove(self)

    def when_ended(self, action: Callable[[], None]) -> None:
        """Have something done when the group is closed, after its programs were ended."""
        self._when_ended.append(action)

    def _send_home(self, pid: int) -> None:
        for tree in {place.tree for place in self._places.values()}:
            Folder(tree.own, tree.version, self._note).write("cgroup.procs", str(pid), "Go home")

    def _stop_throttling(self) -> None:
        """Let what waits for a throttled disk get through: nothing can be killed while it does."""
        for controller in self._controllers:
            for device in controller.limits().get("io", {}):
                controller.limit({"io": {device: Rates()}})

    # --- what is in it -------------------------------------------------------------------------

    def add(self, pid: int) -> None:
        """Move a running process into the group; what it starts from now on is born there.

        Raises:
            ProcessGone: there is no such process.
            CgroupRefused: it is not ours to move.
            InternalProcesses: this group has handed controllers down to children (v2).

        """
        for folder in self._open_folders():
            folder.write("cgroup.procs", str(pid), "Put a process into the group")

    def processes(self) -> list[int]:
        """Return the PIDs in the group itself, ordered; children have their own lists."""
        return self._open_folders()[0].processes()

    @property
    def procs_paths(self) -> tuple[str, ...]:
        """The files to which a process writes `0` in order to enter: one for each tree."""
        return tuple(str(folder.path / "cgroup.procs") for folder in self._open_folders())

    # --- limits --------------------------------------------------------------------------------

    def set(
        self,
        *,
        memory: Amount | Keep | None = ...,
        swap: Amount | Keep | None = ...,
        pids: int | Keep | None = ...,
        cpu: float | Keep | None = ...,
        cpu_weight: int | Keep | None = ...,
        io: Disks | Keep | None = ...,
    ) -> Limits:
        """Change limits while programs run, and return all of them as the kernel reads them back.

        None takes a limit away. The kernel rounds memory down to whole pages.

        Raises:
            BadAmount, MissingController, CgroupRefused: as when a group is made.
            LimitBelowUsage: the group uses more memory than that (v1; v2 kills instead).

        """
        given = {
            "memory": memory,
            "swap": swap,
            "pids": pids,
            "cpu": cpu,
            "cpu_weight": cpu_weight,
            "io": self.limits.io and dict.fromkeys(self.limits.io) if io is None else io,
        }
        self._limit(wanted.understood({k: v for k, v in given.items() if v is not ...}))
        return self.limits

    def _limit(self, limits: Mapping[str, Any]) -> None:
        for name in sorted(wanted.controllers_for(limits)):
            if name not in self._places:
                raise places.no_controller(name)
        for controller in self._controllers:
            controller.limit(limits)

    @property
    def limits(self) -> Limits:
        """The limits as they are in the kernel now."""
        self._open_folders()
        found: dict[str, Any] = {}
        for controller in self._controllers:
            found |= controller.limits()
        return Limits(**found)

    def files(self) -> dict[str, tuple[Path, str]]:
        """Return {limit: (its file, what the file says)}: its name in v1 or v2, and where it is."""
        return self._read_files("limit_files")

    def usage_files(self) -> dict[str, tuple[Path, str]]:
        """Return {what is counted, as in `Usage`: (its file, what the file says)}."""
        return self._read_files("usage_files")

    def _read_files(self, which: str) -> dict[str, tuple[Path, str]]:
        self._open_folders()
        found = {}
        for controller in self._controllers:
            for what, file in getattr(controller, which).items():
                clock = getattr(controller, "clock", None)
                folder = clock if file.startswith("cpuacct.") else controller.folder
                if folder and folder.has(file):
                    found[what] = (folder.path / file, folder.read(file))
        return found

    # --- what it uses --------------------------------------------------------------------------

    def usage(self) -> Usage:
        """Read the kernel's counters. Descriptors are kept, so that this can be done often."""
        self._open_folders()
        found: dict[str, Any] = {}
        for controller in self._controllers:
            found |= controller.usage()
        return Usage(**found)

    def events(self) -> Events:
        """Return what notices OOM kills and refused forks from now on, without asking for them."""
        self._open_folders()
        return Events(self._folder_of("memory"), self._folder_of("pids"))

    # --- stopping ------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop everything in the group, where it stands; memory stays in use."""
        ending.freeze(ending.freezer_of(self._open_folders()))

    def thaw(self) -> None:
        """Let a frozen group run again."""
        ending.thaw(ending.freezer_of(self._open_folders()))

    @property
    def frozen(self) -> bool:
        """Whether everything in the group stands still."""
        return ending.is_frozen(ending.freezer_of(self._open_folders()))

    def while_still(self, end: Callable[[], None]) -> None:
        """Call what ends programs of the group; on v2 they are frozen meanwhile."""
        ending.while_still(self._folders, end)

    def kill(self) -> None:
        """End everything in the group and in those below it, and wait until it is gone."""
        ending.kill(self._open_folders())

    # --- groups below it -----------------------------------------------------------------------

    def child(
        self,
        name: str,
        *,
        memory: Amount | None = None,
        swap: Amount | None = None,
        pids: int | None = None,
        cpu: float | None = None,
        cpu_weight: int | None = None,
        io: Disks | None = None,
    ) -> Cgroup:
        """Return a group below this one, to be opened: what both limit, the smaller limit decides.

        In v2, opening it hands this group's controllers down, which needs this group to have no
        processes of its own.
        """
        group = Cgroup(
            memory=memory, swap=swap, pids=pids, cpu=cpu, cpu_weight=cpu_weight, io=io, name=name
        )
        group._parent = self
        return group

    def _hand_down(self, required: AbstractSet[str]) -> dict[str, Place]:
        """Return the places for a child, which gets all controllers that this group has."""
        self._open_folders()
        found = {}
        for name, place in self._places.items():
            folder = self._folder_of(name)
            assert folder  # noqa: S101 (for the type checker)
            found[name] = Place(place.tree, folder.path)
            if folder.version == 2 and name:
                delegation.hand_down(folder.path, [name])
        for name in sorted(required - found.keys()):
            raise places.no_controller(name)
        return found

    # --- the rest ------------------------------------------------------------------------------

    @property
    def folders(self) -> dict[str, Path]:
        """Return {controller: the group's folder on its tree}."""
        self._open_folders()
        found = {name: self._folder_of(name) for name in self._places}
        return {name: folder.path for name, folder in found.items() if folder}

    def membership(self, controller: str) -> tuple[str, str]:
        """Return what /proc/PID/cgroup says of a member: (v1's controller or "" for v2, path)."""
        place, folder = self._places.get(controller), self._folder_of(controller)
        if place is None or folder is None:
            raise places.no_controller(controller)
        name = V1_NAME.get(controller, controller) if folder.version == 1 else ""
        return name, place.tree.name_of(folder.path)

    def shell(self) -> trace.Steps:
        """Show what was done as commands for a shell: a group is folders and files."""
        return trace.Steps("The same in a terminal", tuple(self._steps))

    def _note(self, what: str, line: str) -> None:
        self._steps.append(trace.Step(what, line))

    @property
    def _folders(self) -> list[Folder]:
        return list(self._by_path.values())

    def _open_folders(self) -> list[Folder]:
        if not self._by_path:
            raise CgroupClosed(
                "the group is not open",
                "",
                "use it inside `with Cgroup(...) as group:`, or open() it",
            )
        return self._folders

    def __repr__(self) -> str:
        if not self._by_path:
            return f"<Cgroup {self.name} (not open)>".replace("  ", " ")
        return f"<Cgroup {self._folders[0].path.name}: {len(self.processes())} processes>"


def _controllers(folder_of: Any) -> Iterator[Controller]:
    """Make the controllers of a group, each in the version that its tree has."""
    kinds: dict[tuple[str, int], Any] = {
        (kind.__name__.lower(), number): kind
        for number, module in ((1, v1), (2, v2))
        for kind in (module.Memory, module.Cpu, module.Pids, module.Io)
    }
    for name in ("memory", "pids", "cpu", "io"):
        folder = folder_of(name)
        if folder is None:
            continue
        kind = kinds[name, folder.version]
        more = (folder_of("cpuacct"),) if kind is v1.Cpu else ()
        controller: Controller = kind(folder, *more)
        yield controller
    bare = folder_of("")
    if bare:
        yield v2.Clock(bare)


@functools.lru_cache(maxsize=1)
def _sweep_once() -> None:
    """Remove groups that dead notebooks left, when the first one is made."""
    for leftover in leftovers.find():
        leftover.remove()
