"""What stands on the sliders and buttons of the console: the kernel's word and a plain one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labsupport.linux.cgroup.figures import Limits
from labsupport.linux.cgroups import Cgroup
from labsupport.views.controls import Button, Slider
from labsupport.views.curves import MIB, bytes_in_words, cpus_in_words, tasks_in_words


@dataclass(frozen=True)
class Range:
    """A limit that a slider sets: its plain name, range and step, and how its value is read."""

    plain: str
    least: float
    most: Callable[[], float]
    step: float
    value: Callable[[Limits], float | None]
    shown: Callable[[float], str]


@dataclass(frozen=True)
class Program:
    """A program that a button starts: its name, what it does, and the limit that it needs."""

    name: str
    does: str
    needs: str


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


RANGES = {
    "memory": Range(
        "memory limit", 16, lambda: 256, 8,
        lambda limits: limits.memory_bytes and limits.memory_bytes / MIB,
        lambda value: bytes_in_words(value * MIB),
    ),
    "cpu": Range("CPU limit", 0.1, cpus, 0.1, lambda limits: limits.cpu, cpus_in_words),
    "pids": Range("task limit", 4, lambda: 64, 2, lambda limits: limits.pids, tasks_in_words),
}  # fmt: skip
PROGRAMS = {
    "hog": Program("memory hog", "takes more and more memory", "memory"),
    "burner": Program("CPU burner", "computes without end", "cpu"),
    "bomb": Program("fork bomb", "forks, as does each of its children", "pids"),
    "writer": Program("disk writer", "writes without end, past the page cache", "io"),
}


def names_of_limits(group: Cgroup) -> dict[str, str]:
    """Return {limit: the name of its file}, which differs in v1 and v2."""
    return {limit: path.name for limit, (path, _) in group.files().items()}


def sliders(group: Cgroup) -> list[Slider]:
    """Return a slider for each limit that the group can have, as the kernel reads it back."""
    limits, files = group.limits, names_of_limits(group)
    return [
        _slider(name, files[name], each, limits) for name, each in RANGES.items() if name in files
    ]


def _slider(name: str, file: str, each: Range, limits: Limits) -> Slider:
    value = each.value(limits)
    most = max(each.most(), value or 0)
    shown = "no limit" if value is None else each.shown(value)
    at = most if value is None else value
    return Slider(name, file, each.plain, min(each.least, at), most, each.step, at, shown)


def buttons(group: Cgroup, disk: str | None) -> list[Button]:
    """Return the buttons; those whose limit is not set cannot be pressed."""
    return [*_programs(group, disk), Button("stop", "■ stop all programs"),
            Button("watch", "▶ watch again", "ten seconds more, from zero")]  # fmt: skip


def _programs(group: Cgroup, disk: str | None) -> Iterator[Button]:
    limits, files = group.limits, names_of_limits(group)
    is_set = {
        "memory": limits.memory_bytes is not None,
        "cpu": limits.cpu is not None,
        "pids": limits.pids is not None,
        "io": disk is not None and any(rates.write for rates in limits.io.values()),
    }
    for name, program in PROGRAMS.items():
        file = files.get(program.needs) or files.get(f"{program.needs} write", program.needs)
        missing = "" if is_set[program.needs] else f"starts only with a limit: {file} has none"
        yield Button(name, program.name, program.does, missing)
