"""A container built by hand, compared with those of runc and of an engine, from the same files.

What confines a running program is read from /proc, whatever built its container; engines are not
asked. How long a start takes is measured several times, and the run in the middle counts. An engine
does not tell where its time goes; the bars of a start without a network, and of its runtime alone,
do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from labsupport.build.bases import base_image
from labsupport.cgroup.life import new_name
from labsupport.engine.client import Engine
from labsupport.engine.listing import owner_labels
from labsupport.engine.oci_runtime import Bundle, bundle
from labsupport.errors import LabError, TimedOut
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import PlainTable
from labsupport.handmade.building import Step
from labsupport.handmade.workshop import Workshop
from labsupport.kernel import proc
from labsupport.kernel.mounts import Mount, mounts
from labsupport.kernel.procfs import named, namespaces, status_fields

KERNELS = ("/proc/", "/sys/")  # below these, files are the kernel's
PROGRAM = ("busybox", "true")
ROUNDS = 3
SHARES = (0.95, 0.5, 0.72, 0.32, 0.6)  # how strong the pieces of a bar are, in turn
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
    """Read what there is to know of a process.

    Raises `ProcessGone`: it has ended, or is not ours to read.
    """
    here, there, fields = namespaces(), namespaces(pid), status_fields(pid)
    table = mounts(pid)
    kernels = [each for each in table if each.point.startswith(KERNELS)]
    root = table.at("/")
    return Portrait(
        own=frozenset(kind for kind in there if there[kind] != here.get(kind)),
        root_is=_root_outside(pid),
        capabilities=int(fields["CapEff"], 16).bit_count(),
        no_new_privs=fields["NoNewPrivs"] == "1",
        filters=int(fields.get("Seccomp_filters", fields["Seccomp"] != "0")),
        hidden=tuple(each.point for each in kernels if _hides(each)),
        read_only=tuple(
            each.point for each in kernels if each.fstype in ("proc", "sysfs") and each.read_only
        ),
        devices=tuple(sorted(os.listdir(f"/proc/{pid}/root/dev"))),
        root=root.fstype if root.root == "/" else f"a folder on {root.fstype}",
        cgroup=_cgroup(pid),
    )


def _hides(mount: Mount) -> bool:
    """A file is hidden by /dev/null over it, a folder by an empty tmpfs that none may write to."""
    return mount.root == "/null" or (mount.fstype == "tmpfs" and mount.read_only)


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


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)}: {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"


_ROWS: tuple[tuple[str, Callable[[Portrait], str], str], ...] = (
    ("own namespaces", lambda of: " ".join(sorted(of.own)), "its own view of each kind of thing"),
    ("root inside is, outside",
     lambda of: "user 0: root" if of.root_is == 0 else f"user {of.root_is}",
     "who breaks out as root is nobody, if it is not 0"),
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
        finding = f"{len(rows)} things that the kernel says of {', '.join(of)}"
    return PlainTable(finding, ("", *of, "what it is good for"), rows)


def bundle_for(workshop: Workshop, argv: Sequence[str]) -> Bundle:
    """Make a bundle of the workshop's root file system, for `workshop.stage` to run."""
    folder = workshop.new_folder()
    rootless = "user" in workshop.stage.new
    group = "" if rootless else f"/{new_name('runtime')}"
    return bundle(folder, workshop.root, argv, cgroup=group, rootless=rootless)


@contextmanager
def runtime_container(workshop: Workshop) -> Iterator[tuple[str, int]]:
    """Run `sleep` in a container of runc (or crun) on the workshop's stage, for a `with`.

    Yields the runtime's name, and the first process's number on this side.
    """
    made = bundle_for(workshop, _SLEEP)
    process = workshop.stage.start(made.run("beside"), cwd="/")
    until = time.monotonic() + _PATIENCE_SECONDS
    try:
        # a runtime forks twice on the way, and only then is the program's name there
        while not (inside := set(proc.children(process.pid)) & set(named(_SLEEP[0]))):
            if process.returncode is not None:
                said = (process.output + process.errors).strip()
                raise LabError(f"{made.runtime} {process.ending}", said)
            if time.monotonic() > until:
                raise TimedOut(f"{made.runtime} did not start a container")
            time.sleep(0.02)
        yield made.runtime, inside.pop()
    finally:
        workshop.stage.run(made.kill("beside"), cwd="/")
        process.wait(_PATIENCE_SECONDS)  # then the runtime takes away what it has made


@dataclass(frozen=True)
class Start:
    """A start of a container for `true`; `parts` are (what, seconds) in their order."""

    name: str
    parts: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(seconds for _, seconds in self.parts)

    def __repr__(self) -> str:
        return f"<{self.name}: {1000 * self.seconds:.0f} ms>"


def by_hand(workshop: Workshop, steps: Sequence[Step]) -> Start:
    """Start a container that is built by hand; its script has written down when it did what."""

    def once() -> Start:
        made = workshop.start(steps, PROGRAM)
        made.process.wait()
        ended = time.monotonic()
        told = made.told()
        took = {
            line.get("step", "execute"): line["at"] - before["at"]
            for before, line in pairwise(told)
        }
        network = took.pop("own_network", 0.0)
        parts = (
            ("Python starts", told[0]["at"] - made.asked),
            ("own_network", network),
            ("the other steps", sum(took.values())),
            ("the program", ended - told[-1]["at"]),
        )
        return Start("by hand", parts)

    return _middle(once)


def by_runtime(workshop: Workshop) -> Start:
    """Start it by runc or crun, on the same stage."""
    made = bundle_for(workshop, PROGRAM)
    numbers = iter(range(ROUNDS))

    def once() -> Start:
        done = workshop.stage.run(made.run(f"start-{next(numbers)}"), cwd="/")
        return Start(made.runtime, ((f"{made.runtime} and the program", done.seconds),))

    return _middle(once)


def by_engine(engine: Engine, network: str = "bridge") -> Start:
    """Start it by the engine, as `docker run` does: create, start, wait; then it is removed."""
    image = base_image(engine)

    def once() -> Start:
        at = [time.monotonic()]
        container = engine.client.containers.create(
            image, list(PROGRAM), network_mode=network, labels=owner_labels()
        )
        try:
            at.append(time.monotonic())
            container.start()
            at.append(time.monotonic())
            container.wait()
            at.append(time.monotonic())
        finally:
            container.remove(force=True)
        took = [after - before for before, after in pairwise(at)]
        parts = tuple(zip(("create", "start", "wait"), took, strict=True))
        without = ", no network" if network == "none" else ""
        return Start(f"{engine.kind} run{without}", parts)

    return _middle(once)


def _middle(once: Callable[[], Start]) -> Start:
    found = sorted((once() for _ in range(ROUNDS)), key=lambda start: start.seconds)
    return found[ROUNDS // 2]


class Starts:
    """Where the time goes when a container starts: a bar for each way, in pieces.

    `place` is where it was measured, as `probe()` calls it.
    """

    def __init__(self, starts: Iterable[Start], place: str) -> None:
        self.starts = list(starts)
        self.place = {"vm": "in the Lab VM"}.get(place, "on this machine")

    @property
    def times(self) -> float:
        """How many times as long as the first the slowest takes, as the picture says it."""
        return float(f"{max(each.seconds for each in self.starts) / self.starts[0].seconds:.2g}")

    def finding(self) -> str:
        """Say in one line how the slowest compares with the first, and where."""
        first, slowest = self.starts[0], max(self.starts, key=lambda start: start.seconds)
        if slowest is first:
            told = ", ".join(f"{start.name} {_time(start.seconds)}" for start in self.starts)
            return f"{told}, {self.place}"
        return f"{slowest.name} takes {self.times:g} times as long as {first.name}, {self.place}"

    def words(self) -> str:
        """Say all of it: the picture's text alternative."""
        parts = [f"{self.finding()}."]
        for start in self.starts:
            pieces = ", ".join(f"{what} {_time(seconds)}" for what, seconds in start.parts)
            parts.append(f"{start.name}: {_time(start.seconds)} ({pieces}).")
        return " ".join(parts)

    def table(self) -> list[tuple[object, ...]]:
        """Return a row for each piece, with a row of headings first."""
        rows = [
            (start.name, what, f"{1000 * seconds:.1f}")
            for start in self.starts
            for what, seconds in start.parts
        ]
        return [("how", "what", "milliseconds"), *rows]

    def page(self) -> Page:
        """Draw a bar for each start, the first on top, its pieces in words below it."""
        sheet = Page(6 + 10 * len(self.starts), self.finding(), inches=9.6)
        longest = max(start.seconds for start in self.starts)
        for row, start in enumerate(self.starts):
            y, left = 6.5 + 10 * row, 15.5
            name = start.name.replace(", ", ",\n")
            sheet.text(1.2, y + 2, name, "body", bold=True, linespacing=1.1)
            for number, (_, seconds) in enumerate(start.parts):
                width = 74 * seconds / longest
                fill = (style.WHO[min(row, len(style.WHO) - 1)], SHARES[number % len(SHARES)])
                sheet.box(left, y, width, 4, fill=fill, pad=0.01, linewidth=0.8)
                left += width
            sheet.text(left + 0.8, y + 2, _time(start.seconds), "body", bold=True)
            pieces = [f"{what} {_time(seconds)}" for what, seconds in start.parts]
            sheet.text(15.5, y + 6, " · ".join(pieces))
        return sheet

    def show(self) -> None:
        """Show the bars in the notebook, with all numbers behind a click."""
        self.page().show(self.words(), self.table())


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
