"""Can we limit memory, CPU, processes and disk traffic, in cgroup v1 or v2? cgroups(7).

A group is made below a writable parent, its limit is set and read back, a child is put into it,
and all is removed. Our own process never moves.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labsupport.linux import syscalls as sc
from labsupport.probes import facts
from labsupport.probes.children import Refused, step

PUT_A_CHILD = "putting a child into a new cgroup"

CONTROLLERS = ("memory", "cpu", "pids", "io")
_V1_NAME = {"io": "blkio"}
_CONFIG = {"memory": "MEMCG", "cpu": "CFS_BANDWIDTH", "pids": "CGROUP_PIDS", "io": "BLK_CGROUP"}
_LIMIT = {  # (version, controller): file, what is written; it must be read back the same
    (1, "memory"): ("memory.limit_in_bytes", "16777216"),
    (2, "memory"): ("memory.max", "16777216"),
    (1, "cpu"): ("cpu.cfs_quota_us", "20000"),
    (2, "cpu"): ("cpu.max", "20000 100000"),
    (1, "pids"): ("pids.max", "8"),
    (2, "pids"): ("pids.max", "8"),
    (1, "io"): ("blkio.throttle.read_bps_device", "{disk} 1048576"),
    (2, "io"): ("io.max", "{disk} rbps=1048576 wbps=max riops=max wiops=max"),
}


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup tree: where it hangs, and the folder of the group we are in."""

    version: int
    mount: Path
    own: Path
    read_only: bool = False

    def parents(self) -> list[Path]:
        """Return where a new group could go: our own group first, the top last."""
        above = [folder for folder in self.own.parents if folder.is_relative_to(self.mount)]
        return [self.own, *above]


def version(proc: Path = Path("/proc/self")) -> int | str | None:
    """Say which cgroup version this machine has, by where the four controllers are.

    1 if all that are there hang on v1 trees (a v2 mount without any of them does not count), 2 if
    all are on v2, "hybrid" if they are spread over both, None if there are none.
    """
    found = {place.version for name in CONTROLLERS if (place := find(name, proc))}
    return "hybrid" if len(found) == 2 else next(iter(found), None)


def find(controller: str, proc: Path = Path("/proc/self")) -> Hierarchy | None:
    """Return the tree on which a controller works, or None."""
    mounts = [_mount(line) for line in (proc / "mountinfo").read_text().splitlines()]
    groups = dict(_group(line) for line in (proc / "cgroup").read_text().splitlines())
    for kind, root, point, options in mounts:
        v1_name = _V1_NAME.get(controller, controller)
        if kind == "cgroup" and v1_name in options:
            return _hierarchy(1, root, point, groups.get(v1_name, "/"), options)
        if kind == "cgroup2" and controller in _words(point / "cgroup.controllers"):
            return _hierarchy(2, root, point, groups.get("", "/"), options)
    return None


def _mount(line: str) -> tuple[str, str, Path, set[str]]:
    left, _, right = line.partition(" - ")
    _, _, _, root, point, options, *_ = left.split()
    kind, _, more = right.split(maxsplit=2)
    return kind, root, Path(point), {*options.split(","), *more.split(",")}


def _group(line: str) -> tuple[str, str]:
    """Return the first controller of a line in /proc/PID/cgroup ("" for v2), and the path."""
    _, names, path = line.split(":", 2)
    return names.partition(",")[0], path


def _hierarchy(number: int, root: str, point: Path, group: str, options: set[str]) -> Hierarchy:
    inside = group.removeprefix(root) if root != "/" else group
    own = point / inside.lstrip("/")
    return Hierarchy(number, point, own if own.is_dir() else point, "ro" in options)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # the file is not there, or not for us
        return []


def parent_for(controller: str, place: Hierarchy) -> Path:
    """Return the nearest group above us below which this controller's limits can be set."""
    writable = [folder for folder in place.parents() if os.access(folder, os.W_OK)]
    usable = [folder for folder in writable if _offers(folder, controller, place.version)]
    if usable:
        return usable[0]
    raise why_no_parent(controller, place, writable, facts.gather())


def _offers(folder: Path, controller: str, number: int) -> bool:
    return number == 1 or controller in _words(folder / "cgroup.subtree_control")


def why_no_parent(
    controller: str, place: Hierarchy, writable: list[Path], known: facts.Facts
) -> Refused:
    """Explain why no group with this controller can be made."""
    if place.read_only:
        return Refused(
            f"cgroups are mounted read-only at {place.mount}, as in an ordinary container",
            "start the container with --privileged" if known.in_container else "",
        )
    if not writable:
        remedy = (
            "systemd-run --user --scope -p Delegate=yes ./lab"
            if known.has_systemd_run and place.version == 2
            else "run ./lab as root"
        )
        return Refused(f"this user may not make groups below {place.own}", remedy)
    parent = writable[0]
    if _has_processes(parent) and (parent / "cgroup.type").exists():
        return Refused(
            f"controller {controller} cannot be handed down below {parent}: the group has "
            "processes itself",
            f"move them to a group of their own below it, then: echo +{controller} > "
            f"{parent}/cgroup.subtree_control",
        )
    on = ", ".join(_words(parent / "cgroup.subtree_control")) or "none"
    return Refused(
        f"controller {controller} is off below {parent} (on: {on})",
        f"as root: echo +{controller} > {parent}/cgroup.subtree_control",
    )


def _has_processes(folder: Path) -> bool:
    return bool(_words(folder / "cgroup.procs"))


@contextlib.contextmanager
def _new_group(parent: Path) -> Iterator[Path]:
    group = parent / f"lab-probe-{os.getpid()}"
    with step(f"making a cgroup in {parent}"):
        group.mkdir()
    try:
        yield group
    finally:
        group.rmdir()


def _try(controller: str) -> str:
    place = find(controller)
    if place is None:
        raise _why_no_hierarchy(controller)
    file, value = _LIMIT[place.version, controller]
    value = value.format(disk=_disk()) if "{disk}" in value else value
    with _new_group(parent_for(controller, place)) as group:
        limit = group / file
        if not limit.exists():
            option = f"a kernel with CONFIG_{_CONFIG[controller]}"
            raise Refused(f"this kernel's groups have no {file}", option)
        with step(f"setting {file}"):
            limit.write_text(value)
        if (got := limit.read_text().strip()) != value:
            raise Refused(f"{file} was set to {value}, but reads {got}")
        _put_a_child_into(group)
    return f"v{place.version}, {file}"


def _why_no_hierarchy(controller: str) -> Refused:
    name = _V1_NAME.get(controller, controller)
    enabled = _known_controllers()
    if name not in enabled:
        return Refused(
            f"this kernel has no controller {controller}",
            f"a kernel with CONFIG_{_CONFIG[controller]}",
        )
    if not enabled[name]:
        return Refused(
            f"the controller {controller} is switched off in the kernel's command line",
            f"remove cgroup_disable={name} there",
        )
    return _why_not_mounted(controller, facts.gather())


def _why_not_mounted(
    controller: str, known: facts.Facts, proc: Path = Path("/proc/self")
) -> Refused:
    mounts = [_mount(line) for line in (proc / "mountinfo").read_text().splitlines()]
    for kind, _, point, _ in mounts:
        if kind == "cgroup2":
            on = ", ".join(_words(point / "cgroup.controllers")) or "none"
            return Refused(
                f"the controller {controller} is not handed down to {point} (there: {on})",
                f"outside, above that group: echo +{controller} > cgroup.subtree_control",
            )
    return Refused(
        f"the controller {controller} is not mounted here",
        known.as_root("mount -t cgroup2 none /sys/fs/cgroup"),
    )


def _known_controllers() -> dict[str, bool]:
    """Read from /proc/cgroups which controllers the kernel has, and whether each is enabled."""
    lines = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()]
    return {name: flag == "1" for name, _, _, flag in lines[1:]}


def _disk() -> str:
    for device in sorted(Path("/sys/block").iterdir()):
        return (device / "dev").read_text().strip()
    raise Refused("there is no disk whose traffic could be limited")


def _put_a_child_into(group: Path) -> None:
    """Let a child sit in the group for a moment, or learn that we may not."""
    pid = os.fork()
    if pid == 0:
        try:
            sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.pause()
        finally:
            os._exit(0)
    try:
        with step(PUT_A_CHILD):
            (group / "cgroup.procs").write_text(str(pid))
        if str(pid) not in _words(group / "cgroup.procs"):
            raise Refused(f"a child was put into {group}, but is not listed there")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


PROBES = {
    "cgroup.memory": lambda: _try("memory"),
    "cgroup.cpu": lambda: _try("cpu"),
    "cgroup.pids": lambda: _try("pids"),
    "cgroup.io": lambda: _try("io"),
}
