"""Control groups: limits that hold, for a program and all it starts; cgroup v1 and v2 alike.

A group is a folder in each cgroup tree of this machine: on v1 one tree for each controller, on v2
one for all. The kernel's files in it are the limits and the counters. Units are bytes, seconds and
shares of one CPU, whatever the files count in.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Self

from labsupport import trace
from labsupport.errors import CgroupClosed
from labsupport.linux.cgroup import ending, leftovers, places, wanted
from labsupport.linux.cgroup.amounts import Amount
from labsupport.linux.cgroup.body import Body
from labsupport.linux.cgroup.events import Event, Events
from labsupport.linux.cgroup.figures import Limits, Rates, Usage
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
        self._body: Body | None = None
        self._parent: Cgroup | None = None
        self._children: list[Cgroup] = []
        self._when_ended: list[Callable[[], None]] = []
        self._steps: deque[trace.Step] = deque(maxlen=REMEMBERED)

    def open(self) -> Self:
        """Make the group and set its limits. A `with` statement does this, and `close()`."""
        _sweep_once()
        required = wanted.controllers_for(self._wanted)
        if self._parent:
            where, name = self._parent._there.hand_down(required), self.name
        else:
            where, name = places.choose(required), leftovers.new_name(self.name)
        self._body = Body(where, name, self._note)
        try:
            self._body.limit(self._wanted)
        except BaseException:
            self.close()
            raise
        if self._parent:
            self._parent._children.append(self)
        return self

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
        if self._body:
            self._body.end()
            while self._when_ended:
                self._when_ended.pop()()
            ending.remove(self._body.folders)
        self._body = None
        if self._parent and self in self._parent._children:
            self._parent._children.remove(self)

    def when_ended(self, action: Callable[[], None]) -> None:
        """Have something done when the group is closed, after its programs were ended."""
        self._when_ended.append(action)

    @property
    def _there(self) -> Body:
        if self._body is None:
            raise CgroupClosed(
                "the group is not open",
                "",
                "use it inside `with Cgroup(...) as group:`, or open() it",
            )
        return self._body

    # --- what is in it -------------------------------------------------------------------------

    def add(self, pid: int) -> None:
        """Move a running process into the group; what it starts from now on is born there.

        Raises:
            ProcessGone: there is no such process.
            CgroupRefused: it is not ours to move.
            InternalProcesses: this group has handed controllers down to children (v2).

        """
        for folder in self._there.folders:
            folder.write("cgroup.procs", str(pid), "Put a process into the group")

    def processes(self) -> list[int]:
        """Return the PIDs in the group itself, ordered; children have their own lists."""
        return self._there.folders[0].processes()

    @property
    def procs_paths(self) -> tuple[str, ...]:
        """The files to which a process writes `0` in order to enter: one for each tree."""
        return tuple(str(folder.path / "cgroup.procs") for folder in self._there.folders)

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
        self._there.limit(wanted.understood({k: v for k, v in given.items() if v is not ...}))
        return self.limits

    @property
    def limits(self) -> Limits:
        """The limits as they are in the kernel now."""
        return self._there.limits()

    def files(self) -> dict[str, tuple[Path, str]]:
        """Return {limit: (its file, what the file says)}: its name in v1 or v2, and where it is."""
        return self._there.limit_files()

    # --- what it uses --------------------------------------------------------------------------

    def usage(self) -> Usage:
        """Read the kernel's counters. Descriptors are kept, so that this can be done often."""
        return self._there.usage()

    def usage_files(self) -> dict[str, tuple[Path, str]]:
        """Return {what is counted, as in `Usage`: (its file, what the file says)}."""
        return self._there.usage_files()

    def events(self) -> Events:
        """Return what notices OOM kills and refused forks from now on, without asking for them."""
        return Events(self._there.folder_of("memory"), self._there.folder_of("pids"))

    # --- stopping ------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop everything in the group, where it stands; memory stays in use."""
        ending.freeze(ending.freezer_of(self._there.folders))

    def thaw(self) -> None:
        """Let a frozen group run again."""
        ending.thaw(ending.freezer_of(self._there.folders))

    @property
    def frozen(self) -> bool:
        """Whether everything in the group stands still."""
        return ending.is_frozen(ending.freezer_of(self._there.folders))

    def while_still(self, end: Callable[[], None]) -> None:
        """Call what ends programs of the group; on v2 they are frozen meanwhile."""
        ending.while_still(self._body.folders if self._body else [], end)

    def kill(self) -> None:
        """End everything in the group and in those below it, and wait until it is gone."""
        ending.kill(self._there.folders)

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

    # --- the rest ------------------------------------------------------------------------------

    @property
    def folders(self) -> dict[str, Path]:
        """Return {controller: the group's folder on its tree}."""
        found = {name: self._there.folder_of(name) for name in self._there.places}
        return {name: folder.path for name, folder in found.items() if folder}

    def membership(self, controller: str) -> tuple[str, str]:
        """Return what /proc/PID/cgroup says of a member: (v1's controller or "" for v2, path)."""
        return self._there.membership(controller)

    def shell(self) -> trace.Steps:
        """Show what was done as commands for a shell: a group is folders and files."""
        return trace.Steps("The same in a terminal", tuple(self._steps))

    def _note(self, what: str, line: str) -> None:
        self._steps.append(trace.Step(what, line))

    def __repr__(self) -> str:
        if self._body is None:
            return f"<Cgroup {self.name or 'without a name'}: not open>"
        count = len(self.processes())
        some = f"{count} processes" if count != 1 else "1 process"
        return f"<Cgroup {self._body.folders[0].path.name}: {some}>"


@functools.lru_cache(maxsize=1)
def _sweep_once() -> None:
    """Remove groups that dead notebooks left, when the first one is made."""
    for leftover in leftovers.find():
        leftover.remove()
