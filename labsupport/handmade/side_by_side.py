"""A container built by hand, compared with those of runc and of an engine, from the same files.

What confines a running program is read from /proc, whatever built its container; engines are not
asked.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from labsupport.cgroup.life import new_name
from labsupport.engine.oci_runtime import bundle
from labsupport.errors import LabError, TimedOut
from labsupport.figure.table import PlainTable
from labsupport.handmade.workshop import Workshop
from labsupport.kernel import proc
from labsupport.kernel.mounts import groups_of, mounts
from labsupport.kernel.procfs import named, namespaces, status_fields, tries, uid_map

KERNELS = ("/proc/", "/sys/")  # below these, files are the kernel's
_PATIENCE_SECONDS = 30.0
_SLEEP = ("busybox", "sleep", "3600")


@dataclass(frozen=True)
class Portrait:
    """A program as the kernel describes it, seen from outside; proc(5).

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
    cgroup: str


def portrait(pid: int) -> Portrait:
    """Read what there is to know of a process. Raises `ProcessGone`."""
    here, there, fields = namespaces(), namespaces(pid), status_fields(pid)
    groups = groups_of(pid)
    table = mounts(pid)
    kernels = [each for each in table if each.point.startswith(KERNELS)]
    root = table.at("/")
    return Portrait(
        own=frozenset(kind for kind in there if there[kind] != here.get(kind)),
        root_is=uid_map(pid).outside(0),
        capabilities=int(fields["CapEff"], 16).bit_count(),
        no_new_privs=fields["NoNewPrivs"] == "1",
        filters=int(fields.get("Seccomp_filters", fields["Seccomp"] != "0")),
        # a file is hidden by /dev/null over it, a folder by an empty tmpfs that none may write to
        hidden=tuple(
            each.point
            for each in kernels
            if each.root == "/null" or (each.fstype == "tmpfs" and each.read_only)
        ),
        read_only=tuple(
            each.point for each in kernels if each.fstype in ("proc", "sysfs") and each.read_only
        ),
        devices=tuple(sorted(os.listdir(f"/proc/{pid}/root/dev"))),
        root=root.fstype if root.root == "/" else f"a folder on {root.fstype}",
        cgroup=groups.get("pids") or groups.get("", "/"),  # in v1's tree of pids, else in v2's
    )


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)}: {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"


_ROWS: tuple[tuple[str, Callable[[Portrait], str], str], ...] = (
    ("own namespaces", lambda of: " ".join(sorted(of.own)), "its own view of each kind of thing"),
    ("root inside is, outside",
     lambda of: "user 0: root" if of.root_is == 0 else f"user {of.root_is}",
     "root that breaks out is nobody, unless it is 0"),
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
    ("cgroup", lambda of: of.cgroup, "where its limits are, and where it is counted"),
)  # fmt: skip


def differing(of: Mapping[str, Portrait]) -> list[str]:
    """Name the things in which the containers differ."""
    return [what for what, tell, _ in _ROWS if len(set(map(tell, of.values()))) > 1]


def compare(of: Mapping[str, Portrait]) -> PlainTable:
    """Set portraits side by side, with what each thing is good for; or show one alone."""
    differ, alone = differing(of), len(of) == 1
    rows = tuple(
        (f"{'' if alone else '≠ ' if what in differ else '= '}{what}", *map(tell, of.values()), why)
        for what, tell, why in _ROWS
    )
    finding = f"{len(differ)} of {len(rows)} things differ between {', '.join(of)}"
    if alone:
        finding = f"{', '.join(of)}: {len(rows)} things that the kernel says about it"
    return PlainTable(finding, ("", *of, "what it is good for"), rows)


@contextmanager
def runtime_container(workshop: Workshop) -> Iterator[tuple[str, int]]:
    """Run `sleep` in a container of runc (or crun) on the workshop's stage, for a `with`.

    Yields the runtime's name, and the first process's number on this side.
    """
    rootless = "user" in workshop.stage.new
    group = "" if rootless else f"/{new_name('runtime')}"
    folder = workshop.new_folder()
    made = bundle(folder, workshop.root, _SLEEP, cgroup=group, rootless=rootless)
    process = workshop.stage.start(made.run("beside"), cwd="/")
    try:
        for _ in tries(_PATIENCE_SECONDS):
            # a runtime forks twice on the way, and only then is the program's name there
            if inside := set(proc.children(process.pid)) & set(named(_SLEEP[0])):
                break
            if process.returncode is not None:
                said = (process.output + process.errors).strip()
                raise LabError(f"{made.runtime} {process.ending}", said)
        else:
            raise TimedOut(f"{made.runtime} did not start a container")
        yield made.runtime, inside.pop()
    finally:
        workshop.stage.run(made.kill("beside"), cwd="/")
        process.wait(_PATIENCE_SECONDS)  # then the runtime takes away what it has made
