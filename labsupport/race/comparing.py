"""A process beside this notebook's, as /proc tells: its program, its group, its namespaces.

A container has no other sign than these.
"""

from __future__ import annotations

import os
from pathlib import Path

from labsupport.linux.procfs import namespaces, status
from labsupport.views.plain_table import PlainTable


def compare(pid: int) -> PlainTable:
    """Return a table of what /proc/PID says of a process and of this one; proc(5), cgroups(7).

    Raises:
        ProcessGone: there is no such process, or it belongs to somebody else.

    """
    theirs, ours = namespaces(pid), namespaces()
    own = [kind for kind in theirs if theirs[kind] != ours[kind]]
    rows = [("`/proc/PID/exe`, its program", _program(pid), _program("self"))]
    rows += [("`/proc/PID/cgroup`, its group", _group(pid), _group("self"))]
    numbers = " ".join(map(str, status(pid).pids))
    rows += [("`NSpid`, its numbers", numbers, " ".join(map(str, status().pids)))]
    rows += [
        (f"`ns/{kind}`", f"{theirs[kind]}", "another one" if kind in own else "the same")
        for kind in theirs
    ]
    return PlainTable(
        f"Process {pid} is a process like this one, with {len(own)} namespaces of its own",
        ("what the kernel keeps of it", "the container's process", "this notebook's"),
        tuple(rows),
    )


def _program(pid: int | str) -> str:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except PermissionError:
        return "(not ours to read)"


def _group(pid: int | str) -> str:
    """Return the last part of its control group's path; where there are several, of the last."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().split()
    paths = [line.rpartition(":")[2] for line in lines]
    longest = max(paths, key=len)
    last = longest.rpartition("/")[2] or "/"
    return last if len(last) <= 20 else f"{last[:19]}…"
