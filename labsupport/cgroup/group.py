"""Control groups: limits that hold, for a program and all it starts; cgroup v1 and v2 alike.

A group is a folder in each cgroup tree of this machine: on v1 one tree for each controller, on v2
one for all. The kernel's files in it are the limits and the counters. Units are bytes, seconds and
shares of one CPU, whatever the files count in.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import select
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from labsupport.cgroup import files, life
from labsupport.cgroup.files import Amount, Disks, Folder, GroupFiles, LimitFiles, Limits, Usage
from labsupport.cgroup.life import Place
from labsupport.errors import CgroupClosed, LabError
from labsupport.kernel.mounts import V1_NAME
from labsupport.ownership.marks import Closing, Opening

TICK_SECONDS = 0.02


class Cgroup(Opening):
    """A control group, from `open()` to `close()`, or for a `with` block.

    Closing it ends every process inside. Limits that are not given are not set, as for any program.

    Args:
        memory: bytes, or `"64M"`.
        swap: bytes of swap in addition to that; 0: none.
        pids: the largest number of tasks (processes and threads).
        cpu: CPU time, in shares of one CPU: 0.2 is a fifth of one.
        cpu_weight: 1 to 10000 (100 is everybody's default): the share when CPUs are short.
        io: bytes per second for a disk, in each direction: `{"/dev/loop0": "2M"}`.
        name: a word that its folders' names end in.

    Raises `LabError` (a limit cannot be understood; the message tells the accepted forms),
    `MissingController` (groups here do not have one that a limit needs), `CgroupRefused` and
    `InternalProcesses` (the kernel refused; the message says why).

    """

    def __init__(
        self, *unnamed: object, memory: Amount | None = None, swap: Amount | None = None,
        pids: int | None = None, cpu: float | None = None, cpu_weight: int | None = None,
        io: Disks | None = None, name: str = "", **unknown: Any,
    ) -> None:  # fmt: skip
        if unnamed:
            what = f"{unnamed[0]!r}: a limit of what?"
            raise LabError(what, "", 'name it: Cgroup(memory="64M", pids=20, cpu=0.2)')
        given = {"memory": memory, "swap": swap, "pids": pids, "cpu": cpu,
                 "cpu_weight": cpu_weight, "io": io, **unknown}  # fmt: skip
        wanted = {word: amount for word, amount in given.items() if amount is not None}
        self._wanted = files.understood(wanted)
        if "/" in name:  # it would lead out of the group above, to where nothing carries our mark
            raise LabError(
                f"name={name!r} is not a word", "it has a slash", "child() makes groups below"
            )
        self.name = name
        self._files: GroupFiles | None = None
        self._places: dict[str, Place] = {}
        self._parent: Cgroup | None = None
        self._children: list[Cgroup] = []
        self._when_ended: list[Callable[[], None]] = []

    def open(self) -> Self:
        """Make the group and set its limits. A `with` statement does this, and `close()`."""
        _sweep_once()
        required = files.controllers_for(self._wanted)
        if self._parent:
            self._places, name = self._parent._hand_down(required), self.name
        else:
            self._places, name = life.choose(required), life.new_name(self.name)
        self._make(name)
        try:
            self._there.limit(self._wanted)
        except BaseException:
            self.close()
            raise
        if self._parent:
            self._parent._children.append(self)
        else:
            _OPEN[self] = os.getpid()
        return self

    def _make(self, name: str) -> None:
        made: dict[Path, Folder] = {}
        try:
            for place in self._places.values():
                if place.parent not in made:
                    folder = Folder(place.parent / name, place.tree.version)
                    folder.make()
                    made[place.parent] = folder
        except BaseException:
            life.remove([*made.values()])
            raise
        self._files = GroupFiles({key: made[place.parent] for key, place in self._places.items()})

    def close(self) -> None:
        """End everything in the group and remove it; may be called twice."""
        for child in self._children[:]:
            child.close()
        if self._files:
            self._end(self._files)
            while self._when_ended:
                self._when_ended.pop()()
            life.remove(self._files.folders)
        self._files = None
        _OPEN.pop(self, None)
        if self._parent and self in self._parent._children:
            self._parent._children.remove(self)

    def _end(self, there: GroupFiles) -> None:
        """End everything inside; our own process is sent to where it came from."""
        pids = life.members(there.folders)
        if os.getpid() in pids:
            for tree in {place.tree for place in self._places.values()}:
                Folder(tree.own, tree.version).write("cgroup.procs", str(os.getpid()))
        if pids:
            # nothing can be killed while it waits for a throttled disk
            if throttled := there.limits().io:
                there.limit({"io": dict.fromkeys(throttled)})
            life.kill(there.folders)

    def when_ended(self, action: Callable[[], None]) -> None:
        """Have something done when the group is closed, after its programs were ended."""
        self._when_ended.append(action)

    @property
    def _there(self) -> GroupFiles:
        if self._files is None:
            use = "use it inside `with Cgroup(...) as group:`, or open() it"
            raise CgroupClosed("the group is not open", "", use)
        return self._files

    # --- what is in it -------------------------------------------------------------------------

    def add(self, pid: int) -> None:
        """Move a running process into the group; what it starts from now on is born there.

        Raises `ProcessGone`, `CgroupRefused` (it is not ours to move), `InternalProcesses` (this
        group has handed controllers down to children; v2).
        """
        if not isinstance(pid, int):
            raise LabError(f"{pid!r} is not a PID", "", "give a number, such as process.pid")
        for folder in self._there.folders:
            folder.write("cgroup.procs", str(pid))

    def processes(self) -> list[int]:
        """Return the PIDs in the group itself, ordered; children have their own lists."""
        return self._there.folders[0].processes()

    @property
    def procs_paths(self) -> tuple[str, ...]:
        """The files to which a process writes `0` in order to enter: one for each tree."""
        return tuple(str(folder.path / "cgroup.procs") for folder in self._there.folders)

    # --- limits and usage ----------------------------------------------------------------------

    def set(self, **given: Any) -> Limits:
        """Change limits while programs run, and return all of them as the kernel reads them back.

        Takes the words of `Cgroup(...)`; None takes a limit away. The kernel rounds memory down to
        whole pages.

        Raises what making a group does, and `LimitBelowUsage`: the group uses more memory than that
        (v1; v2 kills instead).
        """
        wanted = files.understood(given)
        if given.get("io", ...) is None:
            wanted["io"] = dict.fromkeys(self.limits.io)
        self._require(files.controllers_for(wanted))
        self._there.limit(wanted)
        return self.limits

    @property
    def limits(self) -> Limits:
        """The limits as they are in the kernel now."""
        return self._there.limits()

    def files(self) -> LimitFiles:
        """Return {limit: (its file, what the file says)}: its name in v1 or v2, and where it is."""
        return self._there.limit_files()

    @staticmethod
    def files_of(pid: int | str) -> LimitFiles:
        """Return the same for the group of any process, a container's or this notebook's ("self").

        Raises `ProcessGone`: there is no such process.
        """
        return files.files_of(pid)

    def usage(self) -> Usage:
        """Read the kernel's counters. Descriptors are kept, so that this can be done often."""
        return self._there.usage()

    def events(self) -> Events:
        """Return what notices OOM kills and refused forks from now on, without asking for them."""
        return Events(self._there.of.get("memory"), self._there.of.get("pids"))

    # --- stopping ------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop everything in the group where it is; memory stays in use."""
        life.freeze(life.freezer_of(self._there.folders))

    def thaw(self) -> None:
        """Let a frozen group run again."""
        life.thaw(life.freezer_of(self._there.folders))

    @property
    def frozen(self) -> bool:
        """Whether everything in the group is stopped."""
        return life.is_frozen(life.freezer_of(self._there.folders))

    def while_still(self, end: Callable[[], None]) -> None:
        """Call what ends programs of the group; on v2 they are frozen meanwhile."""
        life.while_still(self._files.folders if self._files else [], end)

    def kill(self) -> None:
        """End everything in the group and in those below it, and wait until it is gone."""
        life.kill(self._there.folders)

    # --- groups below it -----------------------------------------------------------------------

    def child(self, name: str, **limits: Any) -> Cgroup:
        """Return a group below this one, to be opened: what both limit, the smaller limit decides.

        It takes the limits of `Cgroup(...)`. In v2, opening it hands this group's controllers down,
        which needs this group to have no processes of its own.
        """
        group = Cgroup(name=name, **limits)
        group._parent = self
        return group

    def _hand_down(self, required: AbstractSet[str]) -> dict[str, Place]:
        """Return the places of a group below, which gets all controllers that this group has."""
        self._require(required)
        # in one write: with processes inside, cpu alone would be taken, and make memory impossible
        for folder in self._there.folders:
            if folder.version == 2:
                of = self._there.of
                life.hand_down(folder.path, [name for name in of if name and of[name] is folder])
        return {
            name: Place(place.tree, self._there.of[name].path)
            for name, place in self._places.items()
        }

    def _require(self, controllers: AbstractSet[str]) -> None:
        for name in sorted(controllers - self._there.of.keys()):
            raise life.no_controller(name)

    # --- the rest ------------------------------------------------------------------------------

    @property
    def folders(self) -> dict[str, Path]:
        """Return {controller: the group's folder on its tree}."""
        return {name: folder.path for name, folder in self._there.of.items()}

    def membership(self, controller: str) -> tuple[str, str]:
        """Return what /proc/PID/cgroup says of a member: (v1's controller or "" for v2, path)."""
        self._require({controller})
        folder = self._there.of[controller]
        name = V1_NAME.get(controller, controller) if folder.version == 1 else ""
        return name, self._places[controller].tree.name_of(folder.path)

    def __setattr__(self, name: str, value: object) -> None:
        if name in files.FILES[2]:
            raise LabError(f"group.{name} = … sets no limit", "", f"group.set({name}={value!r})")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        if self._files is None:
            return f"<Cgroup {self.name or 'without a name'}: not open>"
        count = len(self.processes())
        some = f"{count} processes" if count != 1 else "1 process"
        return f"<Cgroup {self._files.folders[0].path.name}: {some}>"


_OPEN: dict[Cgroup, int] = {}  # with the PID of whom it belongs to: a fork has a copy of this


@atexit.register
def _close_all() -> None:
    """Leave no group behind; what an end by SIGKILL leaves, the next notebook sweeps."""
    for group, owner in [*_OPEN.items()]:
        if owner == os.getpid():
            with contextlib.suppress(LabError):
                group.close()


@functools.lru_cache(maxsize=1)
def _sweep_once() -> None:
    """Remove groups that dead notebooks left, when the first one is made."""
    for leftover in life.find():
        leftover.remove()


# --- what the kernel did to a group, noticed when it happens ------------------------------------


@dataclass(frozen=True)
class Event:
    """`kind` is "oom_kill" or "fork_refused"; `count` is how often, since the group began.

    `new` of them were not told before. `at_seconds` is when it was noticed, on the clock
    `time.monotonic()`. The kernel reports changes at most every 10 ms, so one event may stand for
    many.
    """

    kind: str
    at_seconds: float
    count: int
    new: int


class Events(Closing):
    """Notices what happens to one group. Use it in a `with` statement, or `close()` it.

    v2 tells of an OOM kill by a change of `memory.events`, and of a refused fork by one of
    `pids.events`: `fileno()` is readable then, for `loop.add_reader`. v1 tells of an OOM before it
    has killed, and of forks not in every kernel: call `read()` often, or `wait()`, which reads its
    files every 20 ms. Throttling is only counted, in `cpu.stat` (`Cgroup.usage()`).
    """

    def __init__(self, memory: Folder | None, pids: Folder | None) -> None:
        self._epoll = select.epoll()
        self._fds: list[int] = []
        self._counters: dict[str, Callable[[], int]] = {}
        self._longest = math.inf  # seconds to wait before the files are read
        if memory:
            file = "memory.oom_control" if memory.version == 1 else "memory.events"
            self._watch("oom_kill", memory, file, "oom_kill")
        if pids and pids.has("pids.events"):
            self._watch("fork_refused", pids, "pids.events", "max")
        self._waiting: list[Event] = []
        self._told = {kind: count() for kind, count in self._counters.items()}

    def _watch(self, kind: str, folder: Folder, file: str, word: str) -> None:
        """Watch a file; in v2 it announces its changes by POLLPRI, until it is read again."""
        fd = os.open(folder.path / file, os.O_RDONLY | os.O_CLOEXEC)
        self._fds.append(fd)
        count = files.after(word, 1)

        def counter() -> int:
            try:
                return count(os.pread(fd, files.READ_BYTES, 0).decode()) or 0
            except OSError as error:  # the group has gone
                raise files.refusal(error, folder.path / file, "read") from error

        self._counters[kind] = counter
        if folder.version == 2:
            self._epoll.register(fd, select.EPOLLPRI)
        else:
            self._longest = TICK_SECONDS

    def fileno(self) -> int:
        """A descriptor that is readable when something may have happened; v1 never says so."""
        if self._epoll.closed:
            raise CgroupClosed("these events are closed", "", "ask the group for new ones")
        return self._epoll.fileno()

    def read(self) -> list[Event]:
        """Return what has happened and was not told yet; at once."""
        self.fileno()
        now, found = time.monotonic(), []
        for kind, counter in self._counters.items():
            count = counter()
            if new := count - self._told[kind]:
                found.append(Event(kind, now, count, new))
                self._told[kind] = count
        return found

    def wait(self, timeout: float | None = None) -> Event | None:
        """Wait for something to happen; None: nothing did, within `timeout` seconds.

        If several kinds came together, the others are given by the next call.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self._waiting:
            left = max(0, end - time.monotonic())
            seconds = min(left, self._longest)
            self._epoll.poll(None if seconds == math.inf else seconds)
            self._waiting += self.read()
            if not left and not self._waiting:
                return None
        return self._waiting.pop(0)

    def close(self) -> None:
        """Listen no longer; may be called twice."""
        self._epoll.close()
        while self._fds:
            os.close(self._fds.pop())
