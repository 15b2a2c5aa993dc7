"""Reading /proc: processes, their namespaces, their status; as frozen dataclasses; proc(5)."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Any, Protocol

from labsupport.errors import LabError, ProcessGone, mistaken, nearest
from labsupport.kernel import proc
from labsupport.kernel import syscalls as sc

_LISTENING = "00010000"  # __SO_ACCEPTCON, as proc_net_unix(5) shows it


@dataclass(frozen=True)
class Kind:
    """A kind of namespace (namespaces(7)): our word for it, its file below /proc/PID/ns, its flag.

    `option` is its long option of unshare(1).
    """

    name: str
    file: str
    flag: int
    option: str
    isolates: str


_KINDS = (
    Kind("user", "user", sc.CLONE_NEWUSER, "--user", "user and group numbers, capabilities"),
    Kind("mount", "mnt", sc.CLONE_NEWNS, "--mount", "the tree of mounted file systems"),
    Kind("pid", "pid", sc.CLONE_NEWPID, "--pid", "process numbers"),
    Kind("net", "net", sc.CLONE_NEWNET, "--net", "links, addresses, routes, ports"),
    Kind("uts", "uts", sc.CLONE_NEWUTS, "--uts", "host name"),
    Kind("ipc", "ipc", sc.CLONE_NEWIPC, "--ipc", "System V IPC, message queues"),
    Kind("cgroup", "cgroup", sc.CLONE_NEWCGROUP, "--cgroup", "the root of the cgroup tree"),
    Kind("time", "time", sc.CLONE_NEWTIME, "--time", "boot-time and monotonic clocks"),
)
KINDS = {kind.name: kind for kind in _KINDS}


def kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    """Look names up, in the table's order.

    A text may hold several: "pid mount". Raises `LabError`: a name is not one of the eight.
    """
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    if not isinstance(names, Iterable):
        raise mistaken(names, "a set of namespaces", 'new={"pid", "mount"}')
    wanted = set(names)
    for name in sorted(map(str, wanted - set(KINDS))):
        raise LabError(f"unknown namespace {name!r}", nearest(name, KINDS))
    return tuple(kind for name, kind in KINDS.items() if name in wanted)


all_pids = proc.pids
LABEL = 17  # characters


@dataclass(frozen=True)
class Status:
    """A part of /proc/PID/status. `pids` is NSpid: one number a namespace, outermost first.

    `state` is the kernel's letter: R running, S sleeping, D waiting for a disk, T stopped, Z ended
    but not yet reaped (a zombie).
    """

    name: str
    state: str
    parent_pid: int
    pids: tuple[int, ...]
    uid: int


@dataclass(frozen=True)
class ProcessSnapshot:
    """A process at one moment.

    `pid` is its number here, `pids` its number in each PID namespace it lives in (outermost first),
    `name` what the kernel calls it (at most 15 characters), `command` its arguments,
    `namespaces` maps a kind to the inode number that identifies the namespace, `pid_namespaces` are
    the inode numbers of the nested PID namespaces that `pids` are numbers in.
    """

    pid: int
    pids: tuple[int, ...]
    name: str
    command: str
    state: str
    parent_pid: int
    namespaces: dict[str, int]
    pid_namespaces: tuple[int, ...]

    @property
    def label(self) -> str:
        """Its program, and what tells it from others of that program, in a few characters."""
        words = self.command.strip("[]").split()
        program = words[0].rpartition("/")[2].rstrip(":")
        if self.name.startswith("lab-"):
            return self.name
        if program in ("busybox", "sleep", "unshare") and len(words) > 1:
            program = f"{program} {words[1]}"
        return program if len(program) <= LABEL else program[: LABEL - 1] + "…"

    def __repr__(self) -> str:
        return f"<{self.label}: PIDs {', '.join(map(str, self.pids))}>"


class Box(Protocol):
    """What `processes(of=...)` needs to know of a sandbox."""

    @property
    def new(self) -> frozenset[str]: ...
    @property
    def anchor_pid(self) -> int | None: ...
    @property
    def holder_pid(self) -> int: ...


def as_box(thing: Any) -> Box:
    """Return a sandbox as it is. Raises `LabError`: it is something else."""
    if not hasattr(thing, "new"):
        raise mistaken(thing, "a sandbox", "with Sandbox() as box: …, and then of=box")
    found: Box = thing
    return found


def named_boxes(boxes: Any) -> dict[str, Any]:
    """Return sandboxes by their names, as the maps take them. Raises `LabError`."""
    if hasattr(boxes, "new"):
        boxes = {"the sandbox": boxes}
    if not isinstance(boxes, Mapping):
        raise mistaken(boxes, "a dictionary of sandboxes", '{"web server": web, "database": db}')
    return dict(boxes)


def status_fields(pid: int | str = "self") -> dict[str, str]:
    """Read all of /proc/PID/status, as it is. Raises `ProcessGone`."""
    with readable(pid):
        return proc.status(pid)


def status(pid: int | str = "self") -> Status:
    """Read what is asked for most often of /proc/PID/status. Raises `ProcessGone`."""
    fields = status_fields(pid)
    return Status(
        name=fields["Name"], state=fields["State"][0], parent_pid=int(fields["PPid"]),
        pids=tuple(map(int, fields["NSpid"].split())), uid=int(fields["Uid"].split()[0]),
    )  # fmt: skip


def namespaces(pid: int | str = "self") -> dict[str, int]:
    """Return {kind: inode number} of a process's namespaces, from /proc/PID/ns; namespaces(7).

    Two processes are in the same namespace exactly if the numbers are equal. Kinds that this kernel
    does not have are left out. Raises `ProcessGone`.
    """
    if not isinstance(pid, int | str):
        raise mistaken(pid, "the number of a process", "namespaces(box.pid)")
    found = {}
    with readable(pid):
        for name, kind in KINDS.items():
            with suppress(FileNotFoundError):
                found[name] = _namespace(pid, kind)
    if len(found) < len(KINDS) and not os.path.exists(f"/proc/{pid}/ns"):
        raise _gone(pid)
    return found


def _namespace(pid: int | str, kind: Kind) -> int:
    return inode(os.readlink(f"/proc/{pid}/ns/{kind.file}"))


def inode(link: str) -> int:
    """The number in the target of a /proc/PID/ns link: `pid:[4026531836]`."""
    return int(link[link.index("[") + 1 : -1])


def pid_namespaces(pid: int) -> list[int]:
    """The inodes of a process's PID namespace and of those around it, innermost first.

    The last one is the outermost that we may see, which is our own; ioctl_ns(2).
    """
    with readable(pid):
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    found = []
    while True:
        found.append(os.fstat(fd).st_ino)
        try:
            parent = ioctl(fd, sc.NS_GET_PARENT)
        except PermissionError:
            return found
        finally:
            os.close(fd)
        fd = parent


def command(pid: int) -> str:
    """The program's name and arguments as ps(1) shows them, or [name] if it has none."""
    with readable(pid):
        words = proc.text(proc.read(pid, "cmdline")).rstrip("\0").replace("\0", " ").strip()
        return words or f"[{proc.text(proc.read(pid, 'comm')).strip()}]"


def snapshot(pid: int) -> ProcessSnapshot:
    """Read one process. Raises `ProcessGone`."""
    now = status(pid)
    return ProcessSnapshot(
        pid=pid, pids=now.pids, name=now.name, command=command(pid), state=now.state,
        parent_pid=now.parent_pid, namespaces=namespaces(pid),
        pid_namespaces=tuple(pid_namespaces(pid)[::-1]),
    )  # fmt: skip


def processes(of: Box | Iterable[Box] | None = None) -> list[ProcessSnapshot]:
    """Take a snapshot of the processes, ordered by PID.

    `of` is a sandbox or several: then only the processes in it, those in PID namespaces nested in
    it included, ordered by their numbers in there. Without it, all whose namespaces we may read.
    Raises `LabError`.
    """
    if of is None:
        return list(_snapshots(all_pids()))
    boxes = list(map(as_box, of)) if isinstance(of, Iterable) else [as_box(of)]
    found: dict[int, ProcessSnapshot] = {}
    for each in boxes:
        for process in by_number_inside(_snapshots(members(each))):
            found.setdefault(process.pid, process)
    return list(found.values())


def by_number_inside(found: Iterable[ProcessSnapshot]) -> list[ProcessSnapshot]:
    """Order the processes of a sandbox by their numbers in there: PID 1 is the first."""
    # by their numbers here it might not be: those start over at `kernel.pid_max`
    return sorted(found, key=lambda process: (process.pids[1:], process.pid))


def members(box: Box) -> list[int]:
    """The PIDs, here, of the processes in a sandbox. Raises `LabError`: it is closed."""
    holder = box.holder_pid
    if not box.new:
        return []
    kind = KINDS["pid" if "pid" in box.new else min(box.new)]
    home = _home(box, kind)
    if home is None:
        return []
    return [pid for pid in all_pids() if pid != holder and _lives_in(pid, kind, home)]


class Watcher:
    """Reads the processes of sandboxes again and again, at a third of the cost.

    A process never changes its own PID namespace, so it is asked for that once.
    """

    def __init__(self, boxes: Iterable[Box]) -> None:
        self.boxes = list(boxes)
        self._chains: dict[int, list[int]] = {}

    def read(self) -> list[ProcessSnapshot]:
        """Return what `processes(of=boxes)` would, for sandboxes with a new PID namespace."""
        now = all_pids()
        homes = [home for box in self.boxes if (home := _home(box, KINDS["pid"]))]
        for pid in {*now} - {*self._chains}:
            with suppress(ProcessGone):  # it belongs to somebody else, or has ended
                self._chains[pid] = pid_namespaces(pid)
        self._chains = {pid: self._chains.get(pid, [0]) for pid in now}
        found: dict[int, ProcessSnapshot] = {}
        for home in homes:
            inside = [pid for pid in now if home in self._chains[pid] and pid not in found]
            found |= {process.pid: process for process in by_number_inside(_snapshots(inside))}
        return list(found.values())


def _home(box: Box, kind: Kind) -> int | None:
    """The inode of a sandbox's namespace; None: nothing lives in it now."""
    if box.anchor_pid is None:
        return None
    with suppress(*proc.OURS_NO_MORE):
        return _namespace(box.anchor_pid, kind)
    return None


def _lives_in(pid: int, kind: Kind, home: int) -> bool:
    with suppress(ProcessGone, *proc.OURS_NO_MORE):
        if _namespace(pid, kind) == home:
            return True
        return kind.name == "pid" and len(status(pid).pids) > 1 and home in pid_namespaces(pid)
    return False


def _snapshots(pids: Iterable[int]) -> Iterator[ProcessSnapshot]:
    for pid in pids:
        with suppress(ProcessGone):  # it ended while we were reading, as processes do
            yield snapshot(pid)


@contextmanager
def readable(pid: int | str) -> Iterator[None]:
    """Read something of a process in here. Raises `ProcessGone`: it ended, or is not ours."""
    try:
        yield
    except proc.OURS_NO_MORE as error:
        ended = isinstance(error, FileNotFoundError | ProcessLookupError)
        raise _gone(pid, "" if ended else "it belongs to somebody else") from error


@dataclass(frozen=True)
class Extent:
    """One line of a map: `count` numbers from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True)
class IdMap:
    """The map of a user namespace, as its parent namespace's side reads it; user_namespaces(7).

    Whom the map does not know shows up inside as the overflow user, 65534, called nobody.
    """

    lines: tuple[Extent, ...]

    @classmethod
    def parse(cls, text: str) -> IdMap:
        """Read the text of a uid_map or gid_map file."""
        return cls(tuple(Extent(*map(int, line.split())) for line in text.splitlines()))

    def outside(self, inside: int) -> int | None:
        """The number that `inside` stands for; None: it stands for nobody."""
        for line in self.lines:
            if 0 <= inside - line.inside < line.count:
                return line.outside + inside - line.inside
        return None

    def __repr__(self) -> str:
        parts = [
            f"{_span(line.inside, line.count)} inside is {_span(line.outside, line.count)} outside"
            for line in self.lines
        ]
        return f"<{'; '.join(parts) or 'nobody is mapped'}>"


def uid_map(pid: int | str = "self") -> IdMap:
    """Read the user map of a process's user namespace. Raises `ProcessGone`."""
    with readable(pid):
        return IdMap.parse(Path(f"/proc/{pid}/uid_map").read_text())


def _span(first: int, count: int) -> str:
    return f"{first} to {first + count - 1}" if count > 1 else str(first)


def _gone(pid: int | str, why: str = "") -> ProcessGone:
    return ProcessGone(f"process {pid} cannot be read", why or "it has ended, or never existed")


def listener(path: str | Path) -> int | None:
    """Return who called listen(2) at a Unix socket, as the kernel tells who connects; unix(7).

    None: nobody listens there, we may not connect, or the process is in a PID namespace that we do
    not see. systemd listens for services that it starts on demand: then it is PID 1.
    """
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:  # gone, refused or forbidden: for us, nobody listens there
            return None
        raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[0]) or None


def listens_at(pid: int) -> str:
    """Return a Unix socket at which a process listens; "" if none, or if we may not know."""
    # it has no name elsewhere: a file descriptor and a row of proc_net_unix(5) share an inode
    try:
        files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        rows = [row.split() for row in Path(f"/proc/{pid}/net/unix").read_text().splitlines()]
    except proc.OURS_NO_MORE:
        return ""
    named = (row for row in rows if len(row) > 7 and row[3] == _LISTENING)
    return next((row[7] for row in named if f"socket:[{row[6]}]" in files), "")


def group_members(part: str) -> list[int]:
    """The PIDs of processes in whose control group's path `part` occurs, such as an ID."""
    return [pid for pid in all_pids() if part in _file(pid, "cgroup")]


def first_of(pids: Iterable[int]) -> int | None:
    """Which of these is PID 1 of a PID namespace below ours; None: no such process."""
    for pid in pids:
        with suppress(ProcessGone):
            numbers = status(pid).pids
            if len(numbers) > 1 and numbers[-1] == 1:
                return pid
    return None


def named(*names: str) -> list[int]:
    """The PIDs of processes that the kernel calls one of these names (15 characters; proc(5))."""
    return [pid for pid in all_pids() if _file(pid, "comm").rstrip("\n") in names]


def tries(seconds: float, pause: float = 0.02) -> Iterator[None]:
    """Yield at once, again after each pause, and for a last time when the time is up."""
    until = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= until
        yield
        if is_last:
            return
        time.sleep(pause)


def wait_gone(pids: Iterable[int], seconds: float) -> bool:
    """Wait until these processes have ended, for `seconds` at most; tell whether they have."""
    until = time.monotonic() + seconds
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([pidfd], [], [], max(0, until - time.monotonic()))[0]:
                return False
        finally:
            os.close(pidfd)
    return True


def _file(pid: int, file: str) -> str:
    with suppress(*proc.OURS_NO_MORE):
        return proc.text(proc.read(pid, file))
    return ""
