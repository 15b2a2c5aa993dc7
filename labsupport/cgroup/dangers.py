"""Programs that take all they get (a memory hog, a CPU burner, a fork bomb, a disk writer); a disk.

Each program starts only in a group whose limit holds: it enters the group, reads back from the
kernel that it is in it, and what the limit is, and ends without having done anything if there is
none. Each ends by itself after `seconds`, with its group, and with the notebook, however that ends.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from labsupport.cgroup.danger_program import REFUSED
from labsupport.cgroup.files import Amount, bytes_of, count_of, device_of
from labsupport.cgroup.group import Cgroup
from labsupport.errors import (
    CgroupRefused,
    LabError,
    MissingCapability,
    MissingController,
    ProcessGone,
)
from labsupport.kernel import proc
from labsupport.kernel.mounts import attach_loop
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

PROGRAM = Path(__file__).with_name("danger_program.py")
MOST_PIDS = 256  # a bomb of this many processes takes some 100 MB
MOST_SECONDS = 120
LOOP_MAJOR = 7  # Documentation/admin-guide/devices.txt
SECTOR_BYTES = 512


@dataclass(frozen=True, repr=False)
class Danger:
    """A danger that has started: `pid`, `returncode` and `wait()` are those of its `process`.

    It runs as process 1 of a PID namespace of its own, so that whatever it forks ends with it.
    """

    kind: str
    group: Cgroup
    process: Process
    box: Sandbox

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; 0 when its time was up; minus the signal that ended it."""
        return self.process.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its return code. TimedOut: it still runs after `timeout` s."""
        return self.process.wait(timeout)

    def stop(self) -> None:
        """End it, and all that it forked; may be called twice."""
        if self.returncode is None:
            self.group.while_still(self.box.close)
        self.box.close()

    def __repr__(self) -> str:
        state = f"PID {self.pid}" if self.returncode is None else self.process.ending
        return f"<{self.kind}: {state}>"


def hog(
    group: Cgroup, step: Amount = "4M", *, most: Amount | None = None, pause_seconds: float = 0.05,
    seconds: float = 10,
) -> Danger:  # fmt: skip
    """Start what takes one `step` of memory after another, and writes to it, until it is killed.

    It stops at `most`, by default four times the group's limit: without a limit on swap it may get
    that far.

    Raises `LabError`: the group's memory is not limited, or to more than this machine has free.
    """
    limit = group.limits.memory_bytes
    check = _check(group, "hog", "memory", limit, "64M", most=proc.available_memory())
    options = {
        "step": max(1, bytes_of(step, "step")),
        "most": 4 * (limit or 0) if most is None else bytes_of(most, "most"),
        "pause": pause_seconds,
    }
    return _start("hog", group, options, seconds, [check])


def burner(
    group: Cgroup, threads: int = 1, *, unlimited: bool = False, seconds: float = 10
) -> Danger:
    """Start what computes without end, `threads` times at once.

    With `unlimited=True` it also starts without a limit, for comparison; it still ends after
    `seconds`, and everybody else gets their share: the kernel divides CPU time among all.

    Raises `LabError`: the group's CPU time is not limited by `cpu=`.
    """
    count_of(threads, "threads", 1, 64)
    checks = [] if unlimited else [_check(group, "burner", "cpu", group.limits.cpu, 0.2)]
    return _start("burner", group, {"threads": threads}, seconds, checks)


def bomb(group: Cgroup, *, seconds: float = 10) -> Danger:
    """Start a fork bomb: a process that forks, as does each of its children, without end.

    Raises `LabError`: the group's number of tasks is not limited, or to more than 256.
    """
    check = _check(group, "bomb", "pids", group.limits.pids, 20, most=MOST_PIDS)
    return _start("bomb", group, {}, seconds, [check])


def writer(group: Cgroup, device: str, *, seconds: float = 10) -> Danger:
    """Start what writes over a loop device's first 4 MiB again and again, past the page cache.

    No file and no other device is ever written to.

    Raises `LabError` (the group's writes to that disk are not limited), `CgroupRefused` (it is not
    a loop device, or is in use, such as mounted).
    """
    found = os.stat(device)
    what = f"the writer was not started: {device} would be overwritten"
    remedy = "make a loop device: losetup --find --show FILE"
    if not stat.S_ISBLK(found.st_mode) or os.major(found.st_rdev) != LOOP_MAJOR:
        raise CgroupRefused(what, "it writes to loop devices only", remedy)
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))  # not where it is mounted; open(2)
    except OSError as error:
        raise CgroupRefused(what, error.strerror or "", remedy) from error
    disk = device_of(device)
    check = _check(group, "writer", "io", group.limits.io.get(disk), {disk: "1M"}, disk=disk)
    return _start("writer", group, {"path": device}, seconds, [check])


def _start(
    kind: str, group: Cgroup, options: dict[str, Any], seconds: float, checks: list[dict[str, Any]]
) -> Danger:
    count_of(round(seconds), "seconds", 0, MOST_SECONDS)
    order = {"kind": kind, "options": options, "seconds": seconds, "checks": checks}
    order["procs"] = group.procs_paths
    box = Sandbox(new={"pid"}).open()
    try:
        process = box.start([sys.executable, "-I", "-S", str(PROGRAM), json.dumps(order)], cwd="/")
        _await_start(process, kind, group)
    except BaseException:
        box.close()
        raise
    danger = Danger(kind, group, process, box)
    group.when_ended(danger.stop)
    return danger


def _await_start(process: Process, kind: str, group: Cgroup) -> None:
    try:
        process.expect("started")
    except ProcessGone:
        if process.returncode != REFUSED:
            raise
        why = process.errors.strip()
        remedy = "set the limit first: group.set(...), or Cgroup(...)"
        raise LabError(f"the {kind} was not started in {group}", why, remedy) from None


def _check(
    group: Cgroup, kind: str, word: str, limit: float | None, example: object, *,
    most: int = 0, disk: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Say what the program must find: its group on the controller's tree, the limit's file."""
    files, what = group.files(), f"the {kind} was not started"
    if word not in {each.split()[0] for each in files}:
        raise MissingController(what, f"the group has no {word} controller")
    if limit is None:
        why = f"nothing limits {word} in {group}, so it would take what this machine has"
        raise LabError(what, why, f"set the limit first: group.set({word}={example!r})")
    names, path = group.membership(word)
    file, _ = files.get(f"{word} write") or files[word]
    return {"controller": names, "group": path, "file": str(file), "most": most, "disk": disk}


# --- an empty disk to write to, and swap space; loop(4), swapon(8), blockdev/zram ----------------


class Disk(Closing):
    """A block device of zeroes: `with Disk("16M") as disk:`; `disk.device` is, say, /dev/loop0.

    It lives in a file without a name; the kernel takes both apart when it is closed, or when the
    notebook's process ends, however it ends. Raises `MissingCapability`.
    """

    def __init__(self, size: Amount = "16M") -> None:
        self._descriptor: int | None = None
        with tempfile.NamedTemporaryFile(prefix=marks.prefix("disk")) as image:
            image.truncate(bytes_of(size, "size", SECTOR_BYTES))
            self._descriptor, self.device = attach_loop(image.name)

    def close(self) -> None:
        """Give the device back; may be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __repr__(self) -> str:
        return f"<disk {self.device}>"


SWAP_ON = """
[ -e /sys/block/zram0 ] || modprobe zram  # Debian's User-Mode Linux has it as a module
echo 96M > /sys/block/zram0/disksize
mkswap --quiet /dev/zram0
swapon /dev/zram0
"""
SWAP_OFF = """
if grep -q zram0 /proc/swaps; then swapoff /dev/zram0; fi
echo 1 > /sys/block/zram0/reset
"""


class SwapSpace:
    """Swap space for a `with` block; `made` tells whether there is any.

    Swap is the whole machine's, so it is switched on in the Lab VM only, which is the student's;
    elsewhere nothing is changed. It is in memory, compressed (zram): a loop
    device is too slow for a hog, which would then be killed although there is swap left.
    Raises `MissingCapability`.
    """

    made = False

    def __enter__(self) -> Self:
        if os.environ.get("LAB_IN_VM") == "1":
            self.made = True
            try:
                _shell(SWAP_ON)
            except MissingCapability:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.made:
            _shell(SWAP_OFF)


def _shell(script: str) -> None:
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingCapability("swap space", done.stderr.strip())
