"""What a program sees of the machine that it runs on, asked the same way everywhere.

In a container, in a virtual machine, outside: one small shell script, which needs no more than
coreutils. What is read is the kernel's: /proc, uname(2), statfs(2).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labsupport.completed import Completed
from labsupport.errors import MachineFailed

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
    """Drawn anew by each kernel that starts: two that tell the same are one."""
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

    `before` is put before the command: `["docker", "exec", "web"]`. Raises `MachineFailed` if the
    script does not get through.
    """
    done = (run or _here)([*before, "sh", "-c", _SCRIPT])
    told = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if done.returncode or "processes" not in told:
        raise MachineFailed(f"nothing can be seen from {where}", done.stderr.strip())
    return Seen(
        where, told["kernel"], told["boot_id"], int(told["up"]), told["first"] if run else "",
        int(told["memory"]) << 10, int(told["cpus"]), int(told["disk"]) << 10,
        int(told["processes"]),
    )  # fmt: skip


def _here(argv: Sequence[str]) -> Completed:
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    return Completed(tuple(argv), done.stdout, done.stderr, done.returncode, seconds)
