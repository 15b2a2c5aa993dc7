"""Where cgroups hang: the mounted trees, which controller works on which, and where we are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "pids", "io")
V1_NAME = {"io": "blkio"}
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
        above = [folder for folder in self.own.parents if folder.is_relative_to(self.mount)]
        return [self.own, *above]

    def name_of(self, folder: Path) -> str:
        """Return how /proc/PID/cgroup writes a group of this tree: `/user.slice/lab`."""
        inside = folder.relative_to(self.mount).as_posix()
        return self.root if inside == "." else f"{self.root.rstrip('/')}/{inside}"


def version(proc: Path = SELF) -> int | str | None:
    """Say which cgroup version this machine has, by where the four controllers are.

    1 if all that are there hang on v1 trees (a v2 mount without any of them does not count), 2 if
    all are on v2, "hybrid" if they are spread over both, None if there are none.
    """
    found = {place.version for name in CONTROLLERS if (place := find(name, proc))}
    return "hybrid" if len(found) == 2 else next(iter(found), None)


def find(controller: str, proc: Path = SELF) -> Hierarchy | None:
    """Return the tree on which a controller works, or None. v1's `cpuacct` and `freezer` count."""
    groups = dict(_group(line) for line in (proc / "cgroup").read_text().splitlines())
    for kind, root, point, options in mounts(proc):
        v1_name = V1_NAME.get(controller, controller)
        if kind == "cgroup" and v1_name in options:
            return _hierarchy(1, root, point, _of(v1_name, groups), options)
        if kind == "cgroup2" and controller in words(point / "cgroup.controllers"):
            return _hierarchy(2, root, point, _of("", groups), options)
    return None


def mounts(proc: Path = SELF) -> list[tuple[str, str, Path, set[str]]]:
    """Read the mounts: (type, root, mount point, options); proc_pid_mountinfo(5)."""
    return [_mount(line) for line in (proc / "mountinfo").read_text().splitlines()]


def _mount(line: str) -> tuple[str, str, Path, set[str]]:
    left, _, right = line.partition(" - ")
    _, _, _, root, point, options, *_ = left.split()
    kind, _, more = right.split(maxsplit=2)
    return kind, root, Path(point), {*options.split(","), *more.split(",")}


def _group(line: str) -> tuple[str, str]:
    """Return the controllers of a line in /proc/PID/cgroup ("" for v2), and the path."""
    _, names, path = line.split(":", 2)
    return names, path


def _of(controller: str, groups: dict[str, str]) -> str:
    return next((path for names, path in groups.items() if controller in names.split(",")), "/")


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
