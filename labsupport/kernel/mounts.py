"""Reading the mount table of a process: each line of /proc/PID/mountinfo as a dataclass.

A mount namespace *is* this table. The line's fields are explained in proc_pid_mountinfo(5).
"""

import errno
import functools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

from labsupport.errors import MissingCapability, NotMounted, ProcessGone
from labsupport.kernel.proc import mount_fields, mount_lines, text
from labsupport.kernel.procfs import Box, as_box


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
    unbindable: bool = False

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written here: the mount is read-only, or its file system is."""
        return "ro" in (*self.options, *self.super_options)

    @property
    def propagation(self) -> str:
        """How mounts made below it spread: private, shared, slave, shared slave, unbindable."""
        if self.unbindable:
            return "unbindable"
        groups = {"shared": self.shared, "slave": self.master}
        return " ".join(word for word, group in groups.items() if group is not None) or "private"

    @property
    def what(self) -> tuple[str, str]:
        """What can be seen there: the file system, and which folder of it."""
        return self.device, self.root

    def __repr__(self) -> str:
        part = "" if self.root == "/" else f", only {self.root} of it"
        mode = "read-only" if self.read_only else "read-write"
        peers = {"shared": self.shared, "master": self.master}
        groups = [f"{word}:{group}" for word, group in peers.items() if group is not None]
        spreads = self.propagation + (f" ({', '.join(groups)})" if groups else "")
        where = f"{self.fstype} {self.source} ({self.device}{part})"
        return text(os.fsencode(f"<{self.point}: {where}, {mode}, {spreads}>"))


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
        """Return what can be seen at each mount point: {point: the mount that lies on top}."""
        # a mount over a point hides all that is mounted at it, or below it, from before
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

        Raises `NotMounted`: nothing is; the message says which mount the path lies on.
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


def mounts(of: Box | int | None = None) -> MountTable:
    """Read the mount table of a sandbox, of the process with that number, or our own.

    A sandbox is asked through the process that holds its namespaces: it need not run a program.
    Raises `ProcessGone`.
    """
    pid = os.getpid() if of is None else of if isinstance(of, int) else as_box(of).holder_pid
    try:
        lines = tuple(map(parse, mount_lines(pid)))
        return MountTable(os.stat(f"/proc/{pid}/ns/mnt").st_ino, lines)
    except OSError as error:
        why = (
            "it belongs to somebody else" if isinstance(error, PermissionError) else "it has ended"
        )
        raise ProcessGone(f"the mount table of process {pid} cannot be read", why) from error


def parse(line: str) -> Mount:
    """Take one line of mountinfo apart."""
    fields, fstype, source, super_options = mount_fields(line)
    number, parent, device, root, point, options, *optional = fields
    tags = dict(tag.partition(":")[::2] for tag in optional if tag)
    groups = {tag: int(tags[tag]) for tag in ("shared", "master") if tag in tags}
    return Mount(
        id=int(number), parent_id=int(parent), device=device, root=root, point=point,
        options=tuple(options.split(",")), fstype=fstype, source=source,
        super_options=tuple(super_options.split(",")), shared=groups.get("shared"),
        master=groups.get("master"), unbindable="unbindable" in tags,
    )  # fmt: skip


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


# Where cgroups hang: the mounted trees, which controller works on which, and where we are.

CONTROLLERS = ("memory", "cpu", "pids", "io")
V1_NAME = {"io": "blkio"}
V1_HELPERS = ("cpuacct", "freezer")  # count CPU time; stop programs
WORDS = {1: (*CONTROLLERS, *V1_HELPERS), 2: CONTROLLERS}
SELF = Path("/proc/self")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup tree: where it hangs, and the folder of the group we are in.

    `root` is the group that hangs at `mount`, as /proc/PID/cgroup would write it.
    """

    version: int
    mount: Path
    own: Path
    read_only: bool = False
    root: str = "/"

    def parents(self) -> list[Path]:
        """Return where a new group could go: our own group first, the top last."""
        depth = len(self.own.parts) - len(self.mount.parts)
        return [self.own, *self.own.parents[:depth]]

    def name_of(self, folder: Path) -> str:
        """Return how /proc/PID/cgroup writes a group of this tree: `/user.slice/lab`."""
        inside = folder.relative_to(self.mount).as_posix()
        return self.root if inside == "." else f"{self.root.rstrip('/')}/{inside}"


def version(proc: Path = SELF) -> int | str | None:
    """Say which cgroup version this machine has, by where the four controllers are.

    1 if all that are there hang on v1 trees (a v2 mount without any of them does not count), 2 if
    all are on v2, "hybrid" if they are spread over both, None if there are none.
    """
    known = trees(proc)
    found = {known[name].version for name in CONTROLLERS if name in known}
    return "hybrid" if len(found) == 2 else next(iter(found), None)


def find(controller: str, proc: Path = SELF) -> Hierarchy | None:
    """Return the tree on which a controller works, or None."""
    return trees(proc).get(controller)


def trees(proc: Path = SELF) -> dict[str, Hierarchy]:
    """Return the tree of each controller; with v1, its `cpuacct` and `freezer` are among them."""
    return dict(_trees((proc / "mountinfo").read_bytes(), (proc / "cgroup").read_bytes()))


@functools.lru_cache(maxsize=4)  # the two texts change when anything does that we look at
def _trees(mountinfo: bytes, cgroup: bytes) -> dict[str, Hierarchy]:
    groups = [line.split(":", 2)[1:] for line in os.fsdecode(cgroup).splitlines()]
    found: dict[str, Hierarchy] = {}
    for kind, root, point, options in _mounts(mountinfo):
        number = 1 if kind == "cgroup" else 2
        offered = options if number == 1 else {*words(point / "cgroup.controllers")}
        for name in WORDS[number]:
            listed = V1_NAME.get(name, name) if number == 1 else ""  # its name in /proc/PID/cgroup
            if name not in found and (listed or name) in offered:
                group = next((path for names, path in groups if listed in names.split(",")), "/")
                inside = group.removeprefix(root) if root != "/" else group
                own = point / inside.lstrip("/")
                own = own if own.is_dir() else point
                found[name] = Hierarchy(number, point, own, "ro" in options, root)
    return found


def groups_of(pid: int | str) -> dict[str, str]:
    """Read the paths of a process's groups, by v1's controllers and as "" in v2; cgroups(7)."""
    lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    return {name: path for _, names, path in lines for name in names.split(",")}


def cgroup_mounts() -> list[tuple[str, str, Path, set[str]]]:
    """Read the mounts of cgroups: (type, root, mount point, options); proc_pid_mountinfo(5)."""
    return _mounts((SELF / "mountinfo").read_bytes())


def _mounts(table: bytes) -> list[tuple[str, str, Path, set[str]]]:
    lines = map(mount_fields, os.fsdecode(table).splitlines())
    return [
        (kind, fields[3], Path(fields[4]), {*fields[5].split(","), *more.split(",")})
        for fields, kind, _, more in lines
        if kind in ("cgroup", "cgroup2")
    ]


def words(file: Path) -> list[str]:
    """Return a file's words; none if there is no such file, or if we may not read it."""
    try:
        return file.read_text().split()
    except OSError:
        return []


# --- a loop device: the kernel shows a file as a disk; loop(4) ------------------------------------
# The device clears itself (LO_FLAGS_AUTOCLEAR): the kernel takes it apart when its last descriptor
# and its last mount are gone, however its owner ended.

# linux/loop.h
LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_AUTOCLEAR = 4
_FLAGS_OFFSET = 8 + 52  # of info.lo_flags in struct loop_config
_NAME_OFFSET = 8 + 56  # of info.lo_file_name
_CONFIG_BYTES = 304
CONTROL = "/dev/loop-control"
_TRIES = 20


def attach_loop(path: str) -> tuple[int, str]:
    """Show the file as a disk; return (descriptor, name such as /dev/loop0).

    The device is there for as long as the descriptor is open, or something of it is mounted.
    Raises `MissingCapability`.
    """
    with open(path, "rb+", buffering=0) as image:
        try:
            return _attach(image.fileno(), path)
        except OSError as error:
            remedy = "as root: modprobe loop" if error.errno == errno.ENOENT else "be root"
            why = f"{error.filename or CONTROL}: {error.strerror}"
            raise MissingCapability("a loop device", why, remedy) from error


def _attach(image: int, path: str) -> tuple[int, str]:
    for attempt in range(_TRIES):
        with open(CONTROL, "rb+", buffering=0) as control:
            name = f"/dev/loop{ioctl(control, LOOP_CTL_GET_FREE)}"
        device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
        try:
            ioctl(device, LOOP_CONFIGURE, _config(image, path))
        except OSError as error:
            os.close(device)
            # somebody else was faster: take the next one
            if error.errno != errno.EBUSY or attempt == _TRIES - 1:
                raise
        else:
            return device, name
    raise AssertionError("the last attempt returns or raises")


def _config(image: int, path: str) -> bytes:
    config = bytearray(_CONFIG_BYTES)
    struct.pack_into("=II", config, 0, image, 0)
    struct.pack_into("=I", config, _FLAGS_OFFSET, LO_FLAGS_AUTOCLEAR)
    struct.pack_into("=63s", config, _NAME_OFFSET, os.fsencode(path))
    return bytes(config)
