"""Namespaces: who owns one, and what keeps it alive; who shares what, and what that allows.

`kernel.procfs.namespaces` tells the eight numbers of a process. This asks further, by the
links in /proc/PID/ns and the calls of ioctl_ns(2) and of the kernel's include/uapi/linux/nsfs.h.
Everything is limited to what we may read: an ordinary user, and root in a container, cannot look
into everybody's /proc/PID/ns.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.table import Markup, PlainTable, Tabled, code, html_table
from labsupport.kernel import proc, procfs
from labsupport.kernel import syscalls as sc
from labsupport.kernel.procfs import KINDS, Box, Kind, kinds, namespaces
from labsupport.trace import Completed

if TYPE_CHECKING:
    from labsupport.sandbox.sandbox import Sandbox

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Namespace:
    """A namespace at one moment.

    `inode` is the number that identifies it while it lives, `owner` the inode of the user namespace
    that owns it (of a user namespace: the one it was made in), None if we may not see that.
    `ns_id` is the number that no other namespace gets until the next boot: NS_GET_ID, None before
    Linux 6.18.
    """

    kind: str
    inode: int
    owner: int | None
    ns_id: int | None = None

    def __repr__(self) -> str:
        owner = "" if self.owner is None else f", owned by user namespace {self.owner}"
        return f"<{self.kind} namespace {self.inode}{owner}>"


@dataclass(frozen=True)
class Keepers:
    """What keeps a namespace alive: a namespace without any of it is gone; namespaces(7).

    `processes` are PIDs, `descriptors` pairs of a PID and its descriptor, `mounts` the places where
    its file is bind-mounted. (Nested namespaces and those it owns would keep it, too.)
    """

    processes: tuple[int, ...] = ()
    descriptors: tuple[tuple[int, int], ...] = ()
    mounts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.processes or self.descriptors or self.mounts)

    def __repr__(self) -> str:
        parts = [f"process {pid}" for pid in self.processes]
        parts += [f"descriptor {fd} of process {pid}" for pid, fd in self.descriptors]
        parts += [f"bind mount at {place}" for place in self.mounts]
        return f"<kept by {', '.join(parts)}>" if parts else "<kept by nothing>"


def namespace(kind: str, of: int | Box | None = None) -> Namespace:
    """Ask for one of the namespaces of a process (a PID), a sandbox, or this notebook.

    Raises `LabError`: `kind` is none of the eight, or one that this kernel does not have;
    `ProcessGone`: there is no such process, or it is not ours to read.
    """
    [wanted] = kinds([kind])
    fd = _open(pid_of(of), wanted)
    try:
        return Namespace(kind, os.fstat(fd).st_ino, _owner(fd), _ns_id(fd))
    finally:
        os.close(fd)


def keepers(of: Namespace) -> Keepers:
    """Find what keeps a namespace alive, as far as we may see.

    The kernel gives a number that is free again to the next namespace; `ns_id` tells such a
    neighbour apart, where there is one.
    """
    [kind] = kinds([of.kind])
    link = f"{kind.file}:[{of.inode}]"
    return Keepers(
        processes=_of(of.ns_id, _inside(link, kind)),
        descriptors=_of(of.ns_id, _descriptors(link)),
        mounts=tuple(sorted(set(_of(of.ns_id, _mounts(link))))),
    )


def pid_of(of: int | Box | None) -> int:
    """Return the process that stands for a sandbox, itself, or this notebook."""
    if of is None:
        return os.getpid()
    if isinstance(of, int):
        return of
    return of.holder_pid if of.anchor_pid is None else of.anchor_pid


def _open(pid: int, kind: Kind) -> int:
    if not os.path.exists(f"/proc/self/ns/{kind.file}"):
        why = f"there is no /proc/self/ns/{kind.file}: it was built without them"
        remedy = "choose the kernel “this machine”, if that one has it: ./lab doctor tells"
        raise LabError(f"this kernel has no {kind.name} namespaces", why, remedy)
    with procfs.readable(pid):
        return os.open(f"/proc/{pid}/ns/{kind.file}", os.O_RDONLY | os.O_CLOEXEC)


def _owner(fd: int) -> int | None:
    try:
        owner = ioctl(fd, sc.NS_GET_USERNS)
    except PermissionError:  # it is outside of what we may see
        return None
    try:
        return os.fstat(owner).st_ino
    finally:
        os.close(owner)


def _ns_id(fd: int) -> int | None:
    try:
        return int.from_bytes(ioctl(fd, sc.NS_GET_ID, bytes(8)), sys.byteorder)
    except OSError as error:
        if error.errno == errno.ENOTTY:  # Linux before 6.18, or not a namespace's file
            return None
        raise


def _of(ns_id: int | None, found: Iterable[tuple[T, str]]) -> tuple[T, ...]:
    """Return what was found with a file of the namespace with that ID."""
    return tuple(what for what, path in found if _may_be(ns_id, path))


def _may_be(ns_id: int | None, path: str) -> bool:
    """Say whether the namespace at `path`, which has the number, is the one with that ID."""
    # where it cannot be asked, the number decides; what has gone meanwhile is not it
    if ns_id is None:
        return True
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False
    try:
        return _ns_id(fd) in {None, ns_id}
    finally:
        os.close(fd)


def _inside(link: str, kind: Kind) -> Iterator[tuple[int, str]]:
    for pid in procfs.all_pids():
        path = f"/proc/{pid}/ns/{kind.file}"
        if _read(os.readlink, path) == link:
            yield pid, path


def _descriptors(link: str) -> Iterator[tuple[tuple[int, int], str]]:
    for pid in procfs.all_pids():
        for name in _read(os.listdir, f"/proc/{pid}/fd") or ():
            path = f"/proc/{pid}/fd/{name}"
            if _read(os.readlink, path) == link:
                yield (pid, int(name)), path


def _mounts(link: str) -> Iterator[tuple[str, str]]:
    """Where the namespace's file is mounted, in every mount namespace that somebody lives in."""
    seen = set()
    for pid in procfs.all_pids():
        where = _read(os.readlink, f"/proc/{pid}/ns/{KINDS['mount'].file}")
        if where is None or where in seen:
            continue
        seen.add(where)
        for fields, *_ in _read(proc.mount_table, pid) or ():
            if fields[3] == link:
                yield fields[4], f"/proc/{pid}/root{fields[4]}"


def _read(reader: Callable[[S], T], path: S) -> T | None:
    """Read something of a process; None if it has ended meanwhile, or is not ours to read."""
    try:
        return reader(path)
    except proc.OURS_NO_MORE:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # the mountinfo of a process that is just ending
            return None
        raise


# --- the eight kinds for several processes, side by side: who shares what -------------------------

NOTEBOOK = "this notebook"


class NamespaceTable(Tabled):
    """The eight kinds for some processes: `NamespaceTable({"sandbox": box, "other": 4711})`.

    The first column is this notebook. The others are sandboxes or PIDs, read now, or what was read
    of a process by other ways, as {kind: inode number}. None stands for what is not here: such a
    column is left out. A cell has the number of a namespace where it stands first, and elsewhere
    says whose namespace it is. Raises `ProcessGone`.
    """

    def __init__(self, others: Mapping[str, Box | int | Mapping[str, int] | None]) -> None:
        present = {name: who for name, who in others.items() if who is not None}
        self.columns: dict[str, Mapping[str, int]] = {NOTEBOOK: namespaces()} | {
            name: who if isinstance(who, Mapping) else namespaces(pid_of(who))
            for name, who in present.items()
        }

    def first(self, label: str, kind: str) -> str:
        """Name the first column that has this column's namespace; "" if the kernel has none."""
        number = self.columns[label].get(kind)
        names = (name for name, found in self.columns.items() if found.get(kind) == number)
        return "" if number is None else next(names)

    def own(self, label: str) -> set[str]:
        """The kinds of which this column has a namespace that none before it has."""
        return {kind for kind in KINDS if self.first(label, kind) == label}

    @property
    def table(self) -> PlainTable:
        """A row for each kind."""
        names = [name for name in self.columns if name != NOTEBOOK]
        counts = ", ".join(f"{name} {len(self.own(name))}" for name in names)
        return PlainTable(
            f"Own namespaces, of {len(self.own(NOTEBOOK))} kinds here: {counts}",
            ("kind", "isolates", *self.columns),
            tuple(
                (kind.name, kind.isolates, *(self._told(name, kind.name) for name in self.columns))
                for kind in KINDS.values()
            ),
        )

    def _told(self, label: str, kind: str) -> str:
        first = self.first(label, kind)
        if first == label:
            return f"`{self.columns[label][kind]}`"
        return f"that of {first}" if first else "not in this kernel"


# --- the same attempts in several sandboxes, and what the kernel answered to each ----------------


@dataclass(frozen=True)
class Answers:
    """`rows` has, for each attempt in words, how it ended in each sandbox; `names` are theirs."""

    names: tuple[str, ...]
    rows: Mapping[str, Sequence[Completed]]

    def allowed(self, name: str) -> list[str]:
        """Say which attempts succeeded in one of the sandboxes."""
        at = self.names.index(name)
        return [what for what, ended in self.rows.items() if ended[at].returncode == 0]

    def __repr__(self) -> str:
        return "\n".join(
            f"{what}\n"
            + "\n".join(f"  {n}: {_said(d)}" for n, d in zip(self.names, ended, strict=True))
            for what, ended in self.rows.items()
        )

    def _repr_html_(self) -> str:
        rows = [(what, *map(_marked, ended)) for what, ended in self.rows.items()]
        return html_table(("attempt", *self.names), rows, named=False)


def attempts(
    boxes: Mapping[str, Sandbox], tries: Mapping[str, Sequence[str]], cwd: Path | None = None
) -> Answers:
    """Run each program of `{what it attempts: arguments}` in each of `{name: sandbox}`."""
    rows = {what: [b.run(argv, cwd=cwd) for b in boxes.values()] for what, argv in tries.items()}
    return Answers(tuple(boxes), rows)


def _said(done: Completed) -> str:
    """The program's ending: yes, or the first line of its refusal."""
    refusal = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
    return f"✗ {refusal}" if done.returncode else "✓ yes"


def _marked(done: Completed) -> str:
    colour = style.KERNEL if done.returncode else style.SECOND
    stripe = f"border-left:5px solid {colour};padding-left:.5em"
    mark, _, words = _said(done).partition(" ")
    said = code(words) if done.returncode else words
    return Markup(f"<span style='{stripe}'><b>{mark}</b> {said}</span>")
