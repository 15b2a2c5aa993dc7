"""Can we limit memory, CPU, processes and disk traffic, in cgroup v1 or v2? cgroups(7).

A group is made below a writable parent, its limit is set and read back, a child is put into it,
and all is removed. Our own process never moves.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from labsupport.linux import syscalls as sc
from labsupport.linux.cgroup.hierarchies import (
    CONTROLLERS,
    V1_NAME,
    Hierarchy,
    find,
    mounts,
    version,
    words,
)
from labsupport.linux.loop import CONTROL
from labsupport.probes import facts
from labsupport.probes.children import Refused, step

__all__ = ["CONTROLLERS", "PROBES", "Hierarchy", "find", "version"]
PUT_A_CHILD = "putting a child into a new cgroup"

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


def parent_for(controller: str, place: Hierarchy) -> Path:
    """Return the nearest group above us below which this controller's limits can be set."""
    writable = [folder for folder in place.parents() if os.access(folder, os.W_OK)]
    usable = [folder for folder in writable if _offers(folder, controller, place.version)]
    if usable:
        return usable[0]
    raise why_no_parent(controller, place, writable, facts.gather())


def _offers(folder: Path, controller: str, number: int) -> bool:
    return number == 1 or controller in words(folder / "cgroup.subtree_control")


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
    on = ", ".join(words(parent / "cgroup.subtree_control")) or "none"
    return Refused(
        f"controller {controller} is off below {parent} (on: {on})",
        f"as root: echo +{controller} > {parent}/cgroup.subtree_control",
    )


def _has_processes(folder: Path) -> bool:
    return bool(words(folder / "cgroup.procs"))


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
    name = V1_NAME.get(controller, controller)
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
    for kind, _, point, _ in mounts(proc):
        if kind == "cgroup2":
            on = ", ".join(words(point / "cgroup.controllers")) or "none"
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
    """Return a disk's number; the experiments make disks of their own, out of files."""
    if not os.access(CONTROL, os.R_OK | os.W_OK):
        raise Refused(
            f"no disk can be made to limit the traffic of: {CONTROL} is not here, or not ours",
            "as root: modprobe loop; in a container: start it with --privileged",
        )
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
        if str(pid) not in words(group / "cgroup.procs"):
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
