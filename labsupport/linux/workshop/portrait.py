"""What holds a running program in: read from /proc, whoever built its container.

Nothing is asked of an engine. `/proc/PID/ns`, `status`, `mountinfo`, `cgroup`, `uid_map` and the
folder `/proc/PID/root/dev` tell; proc(5).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport.linux.mounts import Mount, mounts
from labsupport.linux.procfs import namespaces, status_fields

KERNELS = ("/proc/", "/sys/")  # below these, files are the kernel's


@dataclass(frozen=True)
class Portrait:
    """A program as the kernel describes it, seen from outside.

    `own` are the kinds of namespaces that it does not share with this notebook. `root_is` is the
    user, outside, who is user 0 inside; None: nobody. `capabilities` counts the effective ones.
    `filters` counts seccomp filters. `hidden` and `read_only` are paths of /proc and /sys,
    `devices` the names in /dev. `root` says what is mounted at `/`. `cgroup` is its path.
    """

    own: frozenset[str]
    root_is: int | None
    capabilities: int
    no_new_privs: bool
    filters: int
    hidden: tuple[str, ...]
    read_only: tuple[str, ...]
    devices: tuple[str, ...]
    root: str
    mounts: int
    cgroup: str


@dataclass(frozen=True)
class Difference:
    """One line of a comparison: a thing, how each container has it, and what it is good for."""

    what: str
    values: tuple[str, ...]
    good_for: str

    @property
    def differs(self) -> bool:
        """Whether the containers have it differently."""
        return len(set(self.values)) > 1


def portrait(pid: int) -> Portrait:
    """Read what there is to know of a process.

    Raises:
        ProcessGone: it has ended, or is not ours to read.

    """
    here, there, fields = namespaces(), namespaces(pid), status_fields(pid)
    table = mounts(pid)
    return Portrait(
        own=frozenset(kind for kind in there if there[kind] != here.get(kind)),
        root_is=_root_outside(pid),
        capabilities=int(fields["CapEff"], 16).bit_count(),
        no_new_privs=fields["NoNewPrivs"] == "1",
        filters=int(fields.get("Seccomp_filters", fields["Seccomp"] != "0")),
        hidden=tuple(each.point for each in table if _in_kernel(each) and _hides(each)),
        read_only=tuple(each.point for each in table if _in_kernel(each) and _fixed(each)),
        devices=tuple(sorted(os.listdir(f"/proc/{pid}/root/dev"))),
        root=_root_mount(table.at("/")),
        mounts=len(table),
        cgroup=_cgroup(pid),
    )


def differences(of: Mapping[str, Portrait]) -> list[Difference]:
    """Set portraits side by side; rows that are equal are there, too."""
    return [
        Difference(what, tuple(tell(each) for each in of.values()), good_for)
        for what, tell, good_for in _ROWS
    ]


def _in_kernel(mount: Mount) -> bool:
    return mount.point.startswith(KERNELS)


def _hides(mount: Mount) -> bool:
    """A file is hidden by /dev/null over it, a folder by an empty tmpfs that none may write to."""
    return mount.root == "/null" or (mount.fstype == "tmpfs" and mount.read_only)


def _fixed(mount: Mount) -> bool:
    return mount.fstype in ("proc", "sysfs") and mount.read_only


def _root_mount(mount: Mount) -> str:
    return mount.fstype if mount.root == "/" else f"a folder on {mount.fstype}"


def _root_outside(pid: int) -> int | None:
    for line in Path(f"/proc/{pid}/uid_map").read_text().splitlines():
        inside, outside, _ = map(int, line.split())
        if inside == 0:
            return outside
    return None


def _cgroup(pid: int) -> str:
    """The path in the hierarchy of pids (v1), or in the only one (v2)."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    paths = {name: path for _, name, path in lines}
    return paths.get("pids") or paths.get("", "/")


def _listed(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    return f"{len(names)}: {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"


def _root(of: Portrait) -> str:
    return "user 0: root" if of.root_is == 0 else f"user {of.root_is}"


_ROWS: tuple[tuple[str, Callable[[Portrait], str], str], ...] = (
    ("own namespaces", lambda of: " ".join(sorted(of.own)), "its own view of each kind of thing"),
    ("root inside is, outside", _root, "who breaks out as root is nobody, if it is not 0"),
    ("capabilities (CapEff)", lambda of: str(of.capabilities), "how much of root's power is left"),
    ("no_new_privs", lambda of: "yes" if of.no_new_privs else "no",
     "set-uid programs such as su give nothing"),
    ("seccomp filters", lambda of: str(of.filters), "system calls that are refused to everybody"),
    ("hidden in /proc and /sys", lambda of: _listed(of.hidden),
     "files that tell about the host, or its keys and memory"),
    ("read-only in /proc and /sys", lambda of: _listed(of.read_only),
     "settings of the kernel that root could turn"),
    ("in /dev", lambda of: _listed(of.devices), "programs expect null, zero, random, a terminal"),
    ("mounted at /", lambda of: of.root,
     "on an overlay of its own, what is written stays out of the image"),
    ("mounts", lambda of: str(of.mounts),
     "the pieces of its file tree; each one let in is one to think about"),
    ("cgroup", lambda of: of.cgroup, "where its limits are, and where it is counted"),
)  # fmt: skip
