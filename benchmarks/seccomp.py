"""How long it takes to read, judge, try and build a filter, and to observe a program.

    python benchmarks/seccomp.py [ROUNDS]

The filter is the default one of a Docker container, if a private engine can be started, and
otherwise an allow list of nine system calls in ten. Medians and the slowest, in milliseconds.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labsupport import Filter, Sandbox
from labsupport.errors import LabError
from labsupport.seccomp.filter import BYPASS_SECCOMP
from labsupport.seccomp.recording import record
from labsupport.seccomp.syscall_table import numbers


@contextmanager
def a_filtered_process() -> Iterator[tuple[str, int]]:
    """Yield what it is and its PID."""
    try:
        from labsupport.build.bases import base_image
        from labsupport.engine.client import Engine

        with Engine.start_private() as engine:
            image = base_image(engine).id
            container = engine.client.containers.run(
                image, ["sleep", "600"], detach=True, network_mode="none"
            )
            container.reload()
            yield "a default container", container.attrs["State"]["Pid"]
            container.remove(force=True)
    except LabError as no:
        print(f"no engine here: {no.what}")
        names = [name for at, name in enumerate(numbers()) if at % 10 or name == "execve"]
        with Sandbox(filter=Filter.allow(names)) as box:
            yield "an allow list", box.start(["sleep", "600"]).pid


def milliseconds(action: Callable[[], object], rounds: int) -> tuple[float, float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), max(times)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    names = [name for name in numbers() if name not in BYPASS_SECCOMP]
    with a_filtered_process() as (what, pid):
        try:
            taken = Filter.of(pid)
        except LabError as no:
            print(f"not read: {no.what}")
            taken = Filter.allow(names[::2])
        print(
            f"{what}: {taken}, {len(names)} system calls, {rounds} rounds on {os.cpu_count()} CPUs"
        )
        rows: dict[str, Callable[[], object]] = {
            "read the filter": lambda: Filter.of(pid),
            "judge every system call": lambda: Filter(taken.programs).verdicts(),
            "try every system call": taken.agreement,
            "build an allow list of all": lambda: Filter.allow(names),
            "run `true`": lambda: subprocess.run(["true"], check=True),
            "observe `true`": lambda: record(["true"]),
            "run `ls /`": lambda: subprocess.run(["ls", "/"], check=True, capture_output=True),
            "observe `ls /`": lambda: record(["ls", "/"]),
        }
        for name, action in rows.items():
            median, slowest = milliseconds(action, rounds)
            print(f"{name:28} {median:7.1f} ms   (at most {slowest:.1f})")


if __name__ == "__main__":
    main()
