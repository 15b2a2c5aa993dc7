"""Programs that take all they get: a memory hog, a CPU burner, a fork bomb, a disk writer.

Each starts only in a group whose limit holds: it enters the group, reads back from the kernel that
it is in it and what the limit is, and ends without having done anything if there is none. Each ends
by itself after `seconds`, with its group, and with the notebook, however that ends.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from labsupport.errors import CgroupRefused, MissingController, NoLimit, ProcessGone
from labsupport.linux.cgroup.amounts import Amount, bytes_of, count_of
from labsupport.linux.cgroup.wanted import device_below, device_of
from labsupport.linux.cgroups import Cgroup
from labsupport.linux.danger_program import REFUSED
from labsupport.linux.process import Process
from labsupport.linux.sandbox import Sandbox

PROGRAM = Path(__file__).with_name("danger_program.py")
MOST_PIDS = 256  # a bomb of so many processes takes some 100 MB
MOST_SECONDS = 120
LOOP_MAJOR = 7  # Documentation/admin-guide/devices.txt


class Danger:
    """A danger that has started: `pid`, `returncode`, `ending`, `wait()` as of a `Process`.

    It runs as process 1 of a PID namespace of its own, so that whatever it forks ends with it.
    """

    def __init__(self, kind: str, group: Cgroup, box: Sandbox, process: Process) -> None:
        self.kind, self.group, self.process, self._box = kind, group, process, box

    @property
    def pid(self) -> int:
        """Its number here."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; 0 when its time was up; minus the signal that ended it."""
        return self.process.returncode

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        return self.process.ending

    def fileno(self) -> int:
        """A descriptor that is readable once it has ended, for select and asyncio."""
        return self.process.fileno()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its return code.

        Raises:
            TimedOut: it still runs after `timeout` seconds.

        """
        return self.process.wait(timeout)

    def stop(self) -> None:
        """End it, and all that it forked; may be called twice."""
        if self.returncode is None:
            self.group.while_still(self._box.close)
        self._box.close()

    def __repr__(self) -> str:
        state = f"PID {self.pid}" if self.returncode is None else self.ending
        return f"<{self.kind}: {state}>"


def hog(
    group: Cgroup, step: Amount = "4M", *, most: Amount | None = None, pause_seconds: float = 0.05,
    seconds: float = 10,
) -> Danger:  # fmt: skip
    """Start what takes `step` of memory after the other, and writes to it, until it is killed.

    It stops at `most`, by default four times the group's limit: without a limit on swap it may get
    that far.

    Raises:
        NoLimit: the group's memory is not limited, or to more than this machine has free.

    """
    limit = group.limits.memory_bytes
    if limit is None:
        raise _no_limit(group, "hog", "memory", "64M")
    options = {
        "step": max(1, bytes_of(step, "step")),
        "most": 4 * limit if most is None else bytes_of(most, "most"),
        "pause": pause_seconds,
    }
    check = _check(group, "memory", "memory", most=_available_memory())
    return _start("hog", group, options, seconds, [check])


def burner(
    group: Cgroup, threads: int = 1, *, unlimited: bool = False, seconds: float = 10
) -> Danger:
    """Start what computes without end, `threads` times at once.

    With `unlimited=True` it starts without a limit, too, for comparison; it still ends after
    `seconds`, and everybody else gets their share: the kernel divides CPU time among all.

    Raises:
        NoLimit: the group's CPU time is not limited by `cpu=`.

    """
    count_of(threads, "threads", 1, 64)
    if group.limits.cpu is None and not unlimited:
        raise _no_limit(group, "burner", "cpu", 0.2)
    checks = [] if unlimited else [_check(group, "cpu", "cpu")]
    return _start("burner", group, {"threads": threads}, seconds, checks)


def bomb(group: Cgroup, *, pause_seconds: float = 0.01, seconds: float = 10) -> Danger:
    """Start a fork bomb: a process that forks, as does each of its children, without end.

    One that was refused tries again after `pause_seconds`.

    Raises:
        NoLimit: the group's number of tasks is not limited, or to more than 256.

    """
    if group.limits.pids is None:
        raise _no_limit(group, "bomb", "pids", 20)
    check = _check(group, "pids", "pids", most=MOST_PIDS)
    return _start("bomb", group, {"pause": pause_seconds}, seconds, [check])


def writer(
    group: Cgroup, path: str | os.PathLike[str], *, chunk: Amount = "64K", span: Amount = "4M",
    seconds: float = 10,
) -> Danger:  # fmt: skip
    """Start what writes to a disk, past the page cache (`O_DIRECT`), `chunk` after `chunk`.

    `path` is a loop device, whose first `span` bytes are overwritten, or a folder, in which a file
    without a name is written and vanishes. No other file or device is ever written to.

    Raises:
        NoLimit: the group's writes to that disk are not limited.
        CgroupRefused: `path` is neither.

    """
    place = os.fspath(path)
    disk = _disk_of(place)
    rates = group.limits.io.get(disk)
    if rates is None or rates.write is None:
        raise _no_limit(group, "writer", "io", {disk: "1M"})
    word = "io" if "io" in group.files() else "io write"
    check = _check(group, "io", word, disk=disk)
    options = {"path": place, "chunk": bytes_of(chunk, "chunk"), "span": bytes_of(span, "span")}
    return _start("writer", group, options, seconds, [check])


def _start(
    kind: str, group: Cgroup, options: dict[str, Any], seconds: float, checks: list[dict[str, Any]]
) -> Danger:
    count_of(round(seconds), "seconds", 0, MOST_SECONDS)
    order = {
        "kind": kind,
        "options": options,
        "seconds": seconds,
        "procs": group.procs_paths,
        "checks": checks,
    }
    box = Sandbox(new={"pid"}).open()
    try:
        process = box.start([sys.executable, "-I", "-S", str(PROGRAM), json.dumps(order)], cwd="/")
        _await_start(process, kind, group)
    except BaseException:
        box.close()
        raise
    danger = Danger(kind, group, box, process)
    group.when_ended(danger.stop)
    return danger


def _await_start(process: Process, kind: str, group: Cgroup) -> None:
    try:
        process.expect("started")
    except ProcessGone as gone:
        if process.returncode == REFUSED:
            raise NoLimit(
                f"the {kind} was not started in {group}",
                process.errors.strip(),
                "set the limit first: group.set(...), or Cgroup(...)",
            ) from None
        raise gone


def _check(
    group: Cgroup, controller: str, word: str, *, most: int = 0, disk: str = ""
) -> dict[str, Any]:
    """Say what the program must find: its group on the controller's tree, the limit's file."""
    names, path = group.membership(controller)
    file, _ = group.files()[word]
    return {"controller": names, "group": path, "file": str(file), "most": most, "disk": disk}


def _no_limit(group: Cgroup, kind: str, word: str, example: object) -> NoLimit:
    if word not in {what.split()[0] for what in group.files()}:
        raise MissingController(
            f"the {kind} was not started", f"the group has no {word} controller"
        )
    return NoLimit(
        f"the {kind} was not started",
        f"nothing limits {word} in {group}, so it would take what this machine has",
        f"set the limit first: group.set({word}={example!r})",
    )


def _available_memory() -> int:
    """Return how many bytes can be had without swapping; proc_meminfo(5)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes) << 10


def _disk_of(path: str) -> str:
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        return device_below(path)
    if stat.S_ISBLK(found.st_mode) and os.major(found.st_rdev) == LOOP_MAJOR:
        return device_of(path)
    raise CgroupRefused(
        f"the writer was not started: {path} would be overwritten",
        "it writes to loop devices and in folders only",
        "make a loop device: losetup --find --show FILE",
    )
