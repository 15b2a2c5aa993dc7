"""Control groups: what it costs to make one, to watch one, and how soon an OOM kill is noticed.

    python benchmarks/cgroups.py [ROUNDS]

Making a group means: all trees, four limits, a process moved in; then the process is moved out and
the group removed. The same system calls in a bare loop are measured too, for comparison.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time

from labsupport import Cgroup, Sandbox
from labsupport.cgroup.files import put

LIMITS = {"memory": "64M", "swap": 0, "pids": 20, "cpu": 0.2}
HERTZ = (10, 20, 50)
# It notes the time before it fills each page: it was killed during the last of these writes.
# The note is in shared memory, not in a file: a dirty page of the group would delay the kernel.
HOG = """
import mmap, time
block = mmap.mmap(-1, 64 << 20)
clock = mmap.mmap(0, 8)
for offset in range(0, 64 << 20, 4096):
    clock[:] = time.monotonic_ns().to_bytes(8, "little")
    block[offset] = 1
"""


def make(pid: int) -> float:
    """Return the milliseconds that making, filling and removing a group take."""
    began = time.perf_counter()
    group = Cgroup(**LIMITS).open()
    group.add(pid)
    made = time.perf_counter()
    send_away(group, pid)
    back = time.perf_counter()
    group.close()
    return (made - began + time.perf_counter() - back) * 1000


def bare(group: Cgroup, pid: int) -> float:
    """Return the milliseconds that the same system calls take alone."""
    folders = {os.fspath(folder) + "-bare" for folder in group.folders.values()}
    writes = [(os.fspath(path), text) for path, text in group.files().values() if text]
    writes = [(f"{p.rpartition('/')[0]}-bare/{p.rpartition('/')[2]}", text) for p, text in writes]
    began = time.perf_counter()
    for folder in folders:
        os.mkdir(folder)
    for path, text in writes:
        put(path, text)
    for folder in folders:
        put(f"{folder}/cgroup.procs", str(pid))
    made = time.perf_counter()
    for folder in folders:
        put(f"{os.path.dirname(folder)}/cgroup.procs", str(pid))
    back = time.perf_counter()
    for folder in folders:
        os.rmdir(folder)
    return (made - began + time.perf_counter() - back) * 1000


def send_away(group: Cgroup, pid: int) -> None:
    for folder in set(group.folders.values()):
        put(folder.parent / "cgroup.procs", str(pid))


def sampler(hertz: int, seconds: float = 3) -> float:
    """Return the share of a core that reading everything at this rate takes."""
    with Cgroup(**LIMITS) as group:
        group.usage()
        used, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            group.usage()
            time.sleep(1 / hertz)
        return (time.process_time() - used) / seconds


def one_usage(rounds: int) -> float:
    """Return the microseconds of one `usage()`."""
    with Cgroup(**LIMITS) as group:
        group.usage()
        began = time.perf_counter()
        for _ in range(rounds):
            group.usage()
        return (time.perf_counter() - began) / rounds * 1e6


def oom_delay() -> float:
    """Return the milliseconds from the write that exceeded the limit to the notice of the kill."""
    clock = os.memfd_create("clock")
    os.pwrite(clock, bytes(8), 0)
    with (
        Cgroup(memory="16M", swap=0) as group,
        group.events() as events,
        Sandbox(new={"pid"}, cgroup=group) as box,
    ):
        box.start([sys.executable, "-I", "-S", "-c", HOG], stdin=clock)
        event = events.wait(20)
        if event is None:
            raise TimeoutError("no OOM kill")
        last = int.from_bytes(os.pread(clock, 8, 0), "little")
    os.close(clock)
    return event.at_seconds * 1000 - last / 1e6


def row(name: str, times: list[float], unit: str) -> None:
    times.sort()
    middle, late = statistics.median(times), times[int(len(times) * 0.95)]
    print(f"{name:44} {middle:8.3f} {unit}   (fastest {times[0]:.3f}, 95 % below {late:.3f})")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with contextlib.ExitStack() as ends:
        program = ends.enter_context(subprocess.Popen(["sleep", "600"]))
        ends.callback(program.kill)
        make(program.pid)
        row("create, limit, attach, remove", [make(program.pid) for _ in range(rounds)], "ms")
        with Cgroup(**LIMITS) as group:
            alone = [bare(group, program.pid) for _ in range(rounds)]
        row("the same system calls alone", alone, "ms")
    row("OOM kill to notice", [oom_delay() for _ in range(max(5, rounds // 10))], "ms")
    print(f"{'one usage()':44} {one_usage(rounds * 10):8.1f} µs")
    for hertz in HERTZ:
        print(f"{f'usage() at {hertz} Hz':44} {sampler(hertz) * 100:8.2f} % of a core")


if __name__ == "__main__":
    main()
