"""Reading /proc: processes, their namespaces, their status; as frozen dataclasses; proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fcntl import ioctl
from typing import Protocol

from labsupport.errors import ProcessGone
from labsupport.linux.kinds import KINDS
from labsupport.linux.syscalls import NS_GET_PARENT

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


def status_fields(pid: int | str = "self") -> dict[str, str]:
    """Read all of /proc/PID/status, as it stands there.

    Raises:
        ProcessGone: there is no such process.

    """
    text = _read(f"/proc/{pid}/status", pid)
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def status(pid: int | str = "self") -> Status:
    """Read what is asked for most often of /proc/PID/status.

    Raises:
        ProcessGone: there is no such process.

    """
    fields = status_fields(pid)
    return Status(
        name=fields["Name"],
        state=fields["State"][0],
        parent_pid=int(fields["PPid"]),
        pids=tuple(map(int, fields["NSpid"].split())),
        uid=int(fields["Uid"].split()[0]),
    )


def namespaces(pid: int | str = "self") -> dict[str, int]:
    """Return {kind: inode number} of a process's namespaces, from /proc/PID/ns; namespaces(7).

    Two processes are in the same namespace exactly if the numbers are equal. Kinds that this kernel
    does not have are left out.

    Raises:
        ProcessGone: there is no such process, or it belongs to somebody else.

    """
    found = {}
    for name, kind in KINDS.items():
        try:
            found[name] = inode(os.readlink(f"/proc/{pid}/ns/{kind.file}"))
        except FileNotFoundError:
            if not os.path.exists(f"/proc/{pid}/ns"):
                raise _gone(pid) from None
        except (ProcessLookupError, PermissionError) as error:
            raise _gone(pid, str(error.strerror)) from error
    return found


def inode(link: str) -> int:
    """The number in the target of a /proc/PID/ns link: `pid:[4026531836]`."""
    return int(link[link.index("[") + 1 : -1])


def pid_namespaces(pid: int) -> list[int]:
    """The inodes of a process's PID namespace and of those around it, innermost first.

    The last one is the outermost that we may see, which is our own; ioctl_ns(2).
    """
    try:
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    except OSError as error:
        raise _gone(pid, str(error.strerror)) from error
    found = []
    while True:
        found.append(os.fstat(fd).st_ino)
        try:
            parent = ioctl(fd, NS_GET_PARENT)
        except PermissionError:
            return found
        finally:
            os.close(fd)
        fd = parent


def command(pid: int) -> str:
    """The program's name and arguments as ps(1) shows them, or [name] if it has none."""
    raw = _read(f"/proc/{pid}/cmdline", pid)
    words = raw.rstrip("\0").replace("\0", " ").strip()
    return words or f"[{_read(f'/proc/{pid}/comm', pid).strip()}]"


def snapshot(pid: int) -> ProcessSnapshot:
    """Read one process.

    Raises:
        ProcessGone: there is no such process (any more).

    """
    now = status(pid)
    return ProcessSnapshot(
        pid=pid,
        pids=now.pids,
        name=now.name,
        command=command(pid),
        state=now.state,
        parent_pid=now.parent_pid,
        namespaces=namespaces(pid),
        pid_namespaces=tuple(pid_namespaces(pid)[::-1]),
    )


def processes(of: Box | Iterable[Box] | None = None) -> list[ProcessSnapshot]:
    """Take a snapshot of the processes, ordered by PID.

    `of` is a sandbox or several: then only the processes in it, those in PID namespaces nested in
    it included, ordered by their numbers in there. Without it, all whose namespaces we may read.
    """
    if of is None:
        return list(_snapshots(all_pids()))
    boxes = list(of) if isinstance(of, Iterable) else [of]
    found: dict[int, ProcessSnapshot] = {}
    for box in boxes:
        for process in by_number_inside(_snapshots(members(box))):
            found.setdefault(process.pid, process)
    return list(found.values())


def by_number_inside(found: Iterable[ProcessSnapshot]) -> list[ProcessSnapshot]:
    """Order the processes of a sandbox by their numbers in there: PID 1 is the first.

    By their numbers here it would not be, once those have begun anew: at `kernel.pid_max`.
    """
    return sorted(found, key=lambda process: (process.pids[1:], process.pid))


def members(box: Box) -> list[int]:
    """The PIDs, here, of the processes in a sandbox."""
    kind = "pid" if "pid" in box.new else next(iter(sorted(box.new)), None)
    home = kind and _home(box, kind)
    if kind is None or not home:
        return []
    return [pid for pid in all_pids() if pid != box.holder_pid and _lives_in(pid, kind, home)]


class Watcher:
    """Reads the processes of sandboxes again and again, at a tenth of the cost.

    A process never changes its own PID namespace, so it is asked for that once; of those who live
    in the sandboxes, only the status and the command are read each time.
    """

    def __init__(self, boxes: Iterable[Box]) -> None:
        self.boxes = list(boxes)
        self._chains: dict[int, list[int]] = {}
        self._known: dict[int, ProcessSnapshot] = {}

    def read(self) -> list[ProcessSnapshot]:
        """Return what `processes(of=boxes)` would, for sandboxes with a new PID namespace."""
        now = all_pids()
        homes = [home for box in self.boxes if (home := _home(box, "pid"))]
        self._chains = {pid: self._chains.get(pid) or _chain(pid) for pid in now}
        known: dict[int, ProcessSnapshot] = {}
        for home in homes:
            inside = [pid for pid in now if home in self._chains[pid] and pid not in known]
            found = [process for pid in inside if (process := self._read_one(pid))]
            known |= {process.pid: process for process in by_number_inside(found)}
        self._known = known
        return list(known.values())

    def _read_one(self, pid: int) -> ProcessSnapshot | None:
        try:
            known = self._known.get(pid)
            if known is None:
                return snapshot(pid)
            now, words = status(pid), command(pid)
        except ProcessGone:
            return None
        changed = replace(
            known, name=now.name, state=now.state, parent_pid=now.parent_pid, command=words
        )
        return known if changed == known else changed


def _chain(pid: int) -> list[int]:
    try:
        return pid_namespaces(pid)
    except ProcessGone:  # it belongs to somebody else, or has ended
        return [0]


def all_pids() -> list[int]:
    """The PIDs that this /proc shows."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _home(box: Box, kind: str) -> int | None:
    """The inode of a sandbox's namespace; None: nothing lives in it now."""
    if box.anchor_pid is None:
        return None
    try:
        return _namespace(box.anchor_pid, kind)
    except ProcessGone:
        return None


def _lives_in(pid: int, kind: str, home: int) -> bool:
    try:
        if _namespace(pid, kind) == home:
            return True
        return kind == "pid" and len(status(pid).pids) > 1 and home in pid_namespaces(pid)
    except ProcessGone:
        return False


def _namespace(pid: int, kind: str) -> int:
    try:
        return inode(os.readlink(f"/proc/{pid}/ns/{KINDS[kind].file}"))
    except OSError as error:
        raise _gone(pid, str(error.strerror)) from error


def _snapshots(pids: Iterable[int]) -> Iterator[ProcessSnapshot]:
    for pid in pids:
        try:
            yield snapshot(pid)
        except ProcessGone:  # it ended while we were reading, as processes do
            continue


def _read(path: str, pid: int | str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise _gone(pid) from error


def _gone(pid: int | str, why: str = "") -> ProcessGone:
    return ProcessGone(f"process {pid} cannot be read", why or "it has ended, or never was")
