"""A sandbox, a virtual machine and a container in it, compared: what each sees, what each costs.

They are asked the same way everywhere, by one small shell script, which needs no more than
coreutils. What is read is the kernel's: /proc, uname(2), statfs(2).
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labsupport.build.bases import APP_BASE_TAG
from labsupport.errors import LabError
from labsupport.figure.table import PlainTable, amount
from labsupport.kernel import proc
from labsupport.machine.virtual import VirtualMachine
from labsupport.sandbox.sandbox import Sandbox
from labsupport.trace import Completed

# --- what each sees of the machine that it runs on ------------------------------------------------

_SCRIPT = """\
echo kernel=$(uname -r)
echo boot_id=$(cat /proc/sys/kernel/random/boot_id)
echo up=$(cut -d. -f1 /proc/uptime)
echo first=$(cat /proc/1/comm)
echo memory=$(grep MemTotal /proc/meminfo | tr -dc 0-9)
echo cpus=$(nproc)
echo disk=$(df -Pk / | tail -n 1 | tr -s ' ' | cut -d' ' -f2)
echo processes=$(echo /proc/[0-9]* | wc -w)
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
    argv = [*before, "sh", "-c", _SCRIPT]
    done = run(argv) if run else subprocess.run(argv, capture_output=True, text=True, check=False)
    told = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if done.returncode or "processes" not in told:
        raise LabError(f"nothing can be seen from {where}", done.stderr.strip())
    return Seen(
        where=where, kernel=told["kernel"], boot_id=told["boot_id"], up_seconds=int(told["up"]),
        first=told["first"] if run else "", memory_bytes=int(told["memory"]) << 10,
        cpus=int(told["cpus"]), disk_bytes=int(told["disk"]) << 10,
        processes=int(told["processes"]),
    )  # fmt: skip


def kernels(places: Sequence[Seen]) -> PlainTable:
    """Return a row for each question, a column for each place; the same boot id is one kernel."""
    questions = {
        "kernel (uname -r)": lambda s: s.kernel,
        "boot id": lambda s: f"{s.boot_id[:8]}…",
        "that kernel has run for": lambda s: _duration(s.up_seconds),
        "PID 1": lambda s: s.first or "-",
        "processes": lambda s: str(s.processes),
        "memory (MemTotal)": lambda s: _amount(s.memory_bytes),
        "CPUs (nproc)": lambda s: str(s.cpus),
        "size of / (df)": lambda s: _amount(s.disk_bytes),
    }
    return PlainTable(
        f"{len(places)} places, {len({place.boot_id for place in places})} kernels",
        ("", *(place.where for place in places)),
        tuple((name, *map(ask, places)) for name, ask in questions.items()),
    )


_GIB = 1 << 30


def _amount(size: float) -> str:
    return f"{size / _GIB:.0f} GiB" if size >= 10 * _GIB else f"{size / _GIB:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


# --- what each costs: one digit, since a second measurement gives others --------------------------


@dataclass(frozen=True)
class Cost:
    """What was measured of one way: seconds until its first program ran, bytes that it takes."""

    name: str
    start_seconds: float
    memory_bytes: int
    disk_bytes: int


def costs(measured: Sequence[Cost], emulated: str) -> PlainTable:
    """Return a row for each way; `emulated` says who executed the machine's instructions."""
    return PlainTable(
        f"In the machine: {emulated}.",
        ("", "its first program after", "memory", "disk"),
        tuple(
            (c.name, _seconds(c.start_seconds), amount(float(f"{c.memory_bytes:.1g}")),
             amount(c.disk_bytes))
            for c in measured
        ),
    )  # fmt: skip


def _seconds(seconds: float) -> str:
    number, unit = (seconds, "s") if seconds >= 0.95 else (1000 * seconds, "ms")
    return f"{float(f'{number:.1g}'):.0f} {unit}"


def of_sandbox() -> Cost:
    """Start a sandbox with a container's namespaces, run a program in it, and measure.

    Its memory is what its processes have of their own, and their share of what they share (Pss,
    proc_pid_smaps(5)); it takes no disk: it uses this machine's files.
    """
    began = time.monotonic()
    with Sandbox(new={"pid", "mount", "uts", "ipc", "net"}) as box:
        box.run(["true"])
        seconds = time.monotonic() - began
        sleeper = box.start(["sleep", "60"])
        memory = sum(proc.pss(proc.read(pid, "smaps_rollup")) for pid in (box.pid, sleeper.pid))
    return Cost("sandbox", seconds, memory, 0)


_IN_A_CONTAINER = """\
began=$(date +%s%N)
id=$(docker run --detach --network none {image} sleep 60)
echo $(($(date +%s%N) - began))
sudo cat /proc/$(docker inspect --format '{{{{.State.Pid}}}}' $id)/smaps_rollup
docker rm --force $id >/dev/null
"""


def of_container(machine: VirtualMachine) -> Cost:
    """Run a container in the machine, and measure it there, by its clock and its kernel."""
    done = machine.run(["sh", "-ec", _IN_A_CONTAINER.format(image=APP_BASE_TAG)])
    if done.returncode:
        raise LabError("no container ran in the machine", done.stderr)
    nanoseconds, _, rollup = done.stdout.partition("\n")
    return Cost("container in the VM", int(nanoseconds) / 1e9, proc.pss(rollup.encode()), 0)


def of(machine: VirtualMachine) -> Cost:
    """Return what a machine has cost: its start, QEMU's memory then, base disk and own disk."""
    disk = machine.base.size_bytes + machine.own_disk_bytes
    ready = machine.stages[-1].ended_seconds
    return Cost("virtual machine", ready, machine.memory_at_login, disk)
