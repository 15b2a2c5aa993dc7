"""Reading the mount table of a process: each line of /proc/PID/mountinfo as a dataclass.

A mount namespace *is* this table. The line's fields are explained in proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from labsupport.errors import NotMounted, ProcessGone

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    r"""One mounted file system, or a part of one, at one place.

    `device` is `major:minor` of the file system: two mounts with the same number show the same
    file system. `root` is the folder (or file) of it that is seen at `point`; "/" is all of it.
    `source` is the device or name given to mount(8). `options` are of this mount, `super_options`
    of the file system. `shared` and `master` are the numbers of peer groups
    (mount_namespaces(7)). Escapes such as `\040` for a space have been undone.
    """

    id: int
    parent_id: int
    device: str
    root: str
    point: str
    options: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]
    shared: int | None = None
    master: int | None = None
    propagate_from: int | None = None
    unbindable: bool = False

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written through this mount; the file system itself may differ."""
        return "ro" in self.options

    @property
    def propagation(self) -> str:
        """How mounts made below it spread: private, shared, slave, shared slave, unbindable."""
        if self.unbindable:
            return "unbindable"
        words = [
            word
            for word, group in (("shared", self.shared), ("slave", self.master))
            if group is not None
        ]
        return " ".join(words) or "private"

    @property
    def what(self) -> tuple[str, str]:
        """What is to be seen there: the file system, and which folder of it."""
        return self.device, self.root

    def __repr__(self) -> str:
        part = "" if self.root == "/" else f", only {self.root} of it"
        mode = "read-only" if self.read_only else "read-write"
        groups = [
            f"{word}:{group}"
            for word, group in (("shared", self.shared), ("master", self.master))
            if group is not None
        ]
        spreads = self.propagation + (f" ({', '.join(groups)})" if groups else "")
        where = f"{self.fstype} {self.source} ({self.device}{part})"
        return f"<{self.point}: {where}, {mode}, {spreads}>"


@dataclass(frozen=True)
class MountTable:
    """The mount table of a process, in the kernel's order; `namespace` is the inode number."""

    namespace: int
    lines: tuple[Mount, ...]

    def __iter__(self) -> Iterator[Mount]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def visible(self) -> dict[str, Mount]:
        """Return what is to be seen at each mount point: {point: the mount that lies on top}.

        A mount over a point hides all that is mounted at it, or below it, from before.
        """
        children: dict[int, list[Mount]] = {}
        for mount in self.lines:
            children.setdefault(mount.parent_id, []).append(mount)
        ids = {mount.id for mount in self.lines}
        found: dict[str, Mount] = {}
        roots = [mount for mount in self.lines if mount.parent_id not in ids]
        for root in roots:
            _collect(root, children, found)
        return dict(sorted(found.items()))

    def at(self, point: str | os.PathLike[str]) -> Mount:
        """Return what is mounted at a point, the uppermost if there are several.

        Raises:
            NotMounted: nothing is; the message says which mount the path lies on.

        """
        path = os.path.normpath(os.fspath(point))
        found = self.visible().get(path)
        if found is None:
            raise NotMounted(path, self.holding(path).point)
        return found

    def holding(self, path: str | os.PathLike[str]) -> Mount:
        """Return the mount that a path lies on: of those visible, the one with the longest point.

        Symbolic links in the path are not followed.
        """
        wanted = os.path.normpath(os.fspath(path))
        visible = self.visible()
        while wanted not in visible:
            if wanted in ("/", ""):
                raise NotMounted(os.fspath(path), "nothing")
            wanted = os.path.dirname(wanted)
        return visible[wanted]

    def __repr__(self) -> str:
        lines = (f"  {each!r}" for each in self.lines)
        return "\n".join([f"mount namespace {self.namespace}, {len(self)} mounts", *lines])


class Box(Protocol):
    """What `mounts(of=...)` needs to know of a sandbox."""

    @property
    def holder_pid(self) -> int: ...


def mounts(of: Box | int | None = None) -> MountTable:
    """Read the mount table of a sandbox, of the process with that number, or our own.

    A sandbox is asked through the process that holds its namespaces: it need not run a program.

    Raises:
        ProcessGone: there is no such process, or it belongs to somebody else.

    """
    pid = os.getpid() if of is None else of if isinstance(of, int) else of.holder_pid
    try:
        with open(f"/proc/{pid}/mountinfo", errors="surrogateescape") as file:
            lines = tuple(parse(line) for line in file)
        return MountTable(os.stat(f"/proc/{pid}/ns/mnt").st_ino, lines)
    except OSError as error:
        why = (
            "it belongs to somebody else" if isinstance(error, PermissionError) else "it has ended"
        )
        raise ProcessGone(f"the mount table of process {pid} cannot be read", why) from error


def parse(line: str) -> Mount:
    """Take one line of mountinfo apart."""
    before, _, after = line.rstrip("\n").partition(" - ")
    number, parent, device, root, point, options, *optional = before.split(" ")
    fstype, source, super_options = after.split(" ")
    tags = dict(tag.partition(":")[::2] for tag in optional if tag)
    return Mount(
        id=int(number),
        parent_id=int(parent),
        device=device,
        root=_plain(root),
        point=_plain(point),
        options=tuple(options.split(",")),
        fstype=fstype,
        source=_plain(source),
        super_options=tuple(super_options.split(",")),
        shared=_number(tags.get("shared")),
        master=_number(tags.get("master")),
        propagate_from=_number(tags.get("propagate_from")),
        unbindable="unbindable" in tags,
    )


def _collect(mount: Mount, children: dict[int, list[Mount]], found: dict[str, Mount]) -> None:
    """Note what is visible from a mount on: what lies on it at the same point hides the rest."""
    below = children.get(mount.id, [])
    for each in below:
        if each.point == mount.point and each is not mount:
            _collect(each, children, found)
            return
    found[mount.point] = mount
    for each in below:
        _collect(each, children, found)


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
