"""What a program sees of the machine that it runs on, asked the same way everywhere.

In a container, in a virtual machine, outside: one small shell script, which needs no more than
coreutils. What is read is the kernel's: /proc, uname(2), statfs(2).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.trace import Completed

_SCRIPT = """\
echo kernel=$(uname -r)
echo boot_id=$(cat /proc/sys/kernel/random/boot_id)
echo up=$(cut -d. -f1 /proc/uptime)
echo first=$(cat /proc/1/comm)
echo memory=$(grep MemTotal /proc/meminfo | tr -dc 0-9)
echo cpus=$(nproc)
echo disk=$(df -Pk / | tail -n 1 | tr -s ' ' | cut -d' ' -f2)
echo processes=$(ls -d /proc/[0-9]* | wc -l)
"""


@dataclass(frozen=True)
class Seen:
    """What one place sees: of the kernel, of the first process, how much of everything."""

    where: str
    kernel: str
    boot_id: str
    """Drawn at random by each kernel as it starts: the same number means the same kernel."""
    up_seconds: int
    first: str
    """The name of PID 1; empty for this machine itself, where it is none of our business."""
    memory_bytes: int
    cpus: int
    disk_bytes: int
    """The size of the file system at /."""
    processes: int


Run = Callable[[Sequence[str]], Completed]


def look_around(where: str, run: Run | None = None, before: Sequence[str] = ()) -> Seen:
    """Look around by `run`, such as `box.run` or `vm.ssh`, or else right here.

    `before` is put before the command: `["docker", "exec", "web"]`. Raises `LabError` if the
    script does not get through.
    """
    done = (run or _here)([*before, "sh", "-c", _SCRIPT])
    told = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if done.returncode or "processes" not in told:
        raise LabError(f"nothing can be seen from {where}", done.stderr.strip())
    return Seen(
        where=where,
        kernel=told["kernel"],
        boot_id=told["boot_id"],
        up_seconds=int(told["up"]),
        first=told["first"] if run else "",
        memory_bytes=int(told["memory"]) << 10,
        cpus=int(told["cpus"]),
        disk_bytes=int(told["disk"]) << 10,
        processes=int(told["processes"]),
    )


def _here(argv: Sequence[str]) -> Completed:
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    return Completed(tuple(argv), done.stdout, done.stderr, done.returncode, seconds)


# Which places share a kernel: boxes in boxes, host around virtual machine around container. Each
# kernel is a band that carries what runs on it; places with the same boot id are on one band.

Box = tuple[float, float, float, float]  # left, top, width, height
GIB = 1 << 30


def kernels(places: Sequence[Seen]) -> list[list[Seen]]:
    """Group the places by their kernels, in order of appearance."""
    groups: dict[str, list[Seen]] = {}
    for place in places:
        groups.setdefault(place.boot_id, []).append(place)
    return list(groups.values())


def finding(places: Sequence[Seen]) -> str:
    """Say in one line how many kernels there are."""
    groups = kernels(places)
    if len(groups) == 1:
        return f"{len(places)} places, one kernel: none of them is a virtual machine"
    return f"{len(places)} places, {len(groups)} kernels: the virtual machine has one of its own"


def table(places: Sequence[Seen]) -> list[tuple[object, ...]]:
    """Return a row for each question, a column for each place, with a row of headings first."""
    questions = {
        "kernel (uname -r)": lambda s: s.kernel,
        "boot id": lambda s: s.boot_id[:8] + "…",
        "that kernel runs since": lambda s: _duration(s.up_seconds),
        "PID 1": lambda s: s.first or "-",
        "processes": lambda s: s.processes,
        "memory (MemTotal)": lambda s: _amount(s.memory_bytes),
        "CPUs (nproc)": lambda s: s.cpus,
        "size of / (df)": lambda s: _amount(s.disk_bytes),
    }
    head = ("", *(place.where for place in places))
    return [head, *((name, *map(ask, places)) for name, ask in questions.items())]


def words(places: Sequence[Seen]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [
        f"{s.where}: kernel {s.kernel} (boot id {s.boot_id[:8]}), "
        + (f"PID 1 is {s.first}, " if s.first else "")
        + f"{s.processes} processes, {_amount(s.memory_bytes)} of memory, {s.cpus} CPUs, "
        f"{_amount(s.disk_bytes)} of disk"
        for s in places
    ]
    return f"{finding(places)}. {'. '.join(parts)}."


def page(places: Sequence[Seen]) -> Page:
    """Draw the first place's kernel around all; any other kernel, with what it carries, within."""
    outer, *inner = kernels(places)
    sheet = Page(45, finding(places), width=98, inches=9.8)
    _ground(sheet, (0.6, 6.4, 96.8, 38), style.HOST, 0.07)
    _band(sheet, (1.8, 39, 94.4, 4.4), outer[0], style.HOST)
    columns = len(outer) + sum(len(group) for group in inner)
    wide = 93.0 / (columns + 0.12 * len(inner))
    left = 2.4
    for place in outer:
        colour = style.HOST if place is outer[0] else style.FIRST
        _place(sheet, (left, 8.6, wide - 1.6, 29), place, colour)
        left += wide
    for group in inner:
        width = wide * (len(group) + 0.08)
        _guest(sheet, left, width, group)
        left += width + 0.6
    return sheet


def _guest(sheet: Page, left: float, width: float, group: Sequence[Seen]) -> None:
    """Draw a virtual machine: its kernel, and what runs on it."""
    _ground(sheet, (left, 8.6, width, 29), style.KERNEL, 0.08)
    sheet.text(left + width / 2, 10.8, "a process of this machine: QEMU", centre=True)
    _band(sheet, (left + 1, 32, width - 2, 4.4), group[0], style.KERNEL)
    each = (width - 2) / len(group)
    for number, place in enumerate(group):
        colour = style.SECOND if place is group[0] else style.THIRD
        _place(sheet, (left + 1 + number * each, 12.8, each - 0.8, 18.4), place, colour)


def _ground(sheet: Page, box: Box, colour: str, alpha: float) -> None:
    sheet.box(*box, colour, fill=(colour, alpha), linewidth=1.6)


def _band(sheet: Page, box: Box, place: Seen, colour: str) -> None:
    _ground(sheet, box, colour, 0.9)
    left, top, wide, high = box
    at = left + wide / 2, top + high / 2
    sheet.text(*at, f"kernel {place.kernel}", colour=style.PAPER, bold=True, centre=True)


def _place(sheet: Page, box: Box, place: Seen, colour: str) -> None:
    _ground(sheet, box, colour, 0.16)
    left, top, wide, _ = box
    sheet.text(left + wide / 2, top + 2.2, place.where, "body", bold=True, centre=True)
    lines = [
        *([f"PID 1: {place.first}"] if place.first else []),
        f"{place.processes} processes",
        f"{_amount(place.memory_bytes)} memory",
        f"{place.cpus} CPU{'s' if place.cpus > 1 else ''}",
        f"{_amount(place.disk_bytes)} at /",
    ]
    for number, line in enumerate(lines):
        sheet.text(left + 1.2, top + 5.4 + 2.7 * number, line)


def show_kernels(places: Sequence[Seen]) -> None:
    """Show the boxes in the notebook, with all that was seen behind a click."""
    page(places).show(words(places), table(places))


def _amount(size: float) -> str:
    return f"{size / GIB:.0f} GiB" if size >= 10 * GIB else f"{size / GIB:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
