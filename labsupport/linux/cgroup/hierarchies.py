"""Where cgroups hang: the mounted trees, which controller works on which, and where we are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

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
    return dict(_trees((proc / "mountinfo").read_text(), (proc / "cgroup").read_text()))


@functools.lru_cache(maxsize=4)  # the two texts change when anything does that we look at
def _trees(mountinfo: str, cgroup: str) -> dict[str, Hierarchy]:
    groups = [line.split(":", 2)[1:] for line in cgroup.splitlines()]
    found: dict[str, Hierarchy] = {}
    for kind, root, point, options in _mounts(mountinfo):
        number = 1 if kind == "cgroup" else 2
        offered = options if number == 1 else {*words(point / "cgroup.controllers")}
        for name in WORDS[number]:
            v1_name = V1_NAME.get(name, name)
            if name not in found and (v1_name if number == 1 else name) in offered:
                group = _of(v1_name if number == 1 else "", groups)
                found[name] = _hierarchy(number, root, point, group, options)
    return found


def mounts(proc: Path = SELF) -> list[tuple[str, str, Path, set[str]]]:
    """Read the cgroup mounts: (type, root, mount point, options); proc_pid_mountinfo(5)."""
    return _mounts((proc / "mountinfo").read_text())


def _mounts(text: str) -> list[tuple[str, str, Path, set[str]]]:
    return [_mount(line) for line in text.splitlines() if " - cgroup" in line]


def _mount(line: str) -> tuple[str, str, Path, set[str]]:
    left, _, right = line.partition(" - ")
    _, _, _, root, point, options, *_ = left.split()
    kind, _, more = right.split(maxsplit=2)
    return kind, root, Path(point), {*options.split(","), *more.split(",")}


def _of(controller: str, groups: list[list[str]]) -> str:
    """Return our group on the tree of a v1 controller, or on that of v2 (""); cgroups(7)."""
    return next((path for names, path in groups if controller in names.split(",")), "/")


def _hierarchy(number: int, root: str, point: Path, group: str, options: set[str]) -> Hierarchy:
    inside = group.removeprefix(root) if root != "/" else group
    own = point / inside.lstrip("/")
    return Hierarchy(number, point, own if own.is_dir() else point, "ro" in options, root)


def words(file: Path) -> list[str]:
    """Return a file's words; none if it is not there, or not for us."""
    try:
        return file.read_text().split()
    except OSError:
        return []
