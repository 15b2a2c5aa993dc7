"""Pictures of this room, from plain data."""

from dataclasses import replace

from labsupport.cgroup import curves
from labsupport.cgroup.curves import MIB, Curves, Sample, Strike

FILES = {"memory": "memory.max", "cpu": "cpu.max", "pids": "pids.max", "io": "io.max"}
KILL = Strike("oom_kill", 3.2, 3.2, 1)
BOMB = Strike("fork_refused", 4.0, 6.0, 412)


def readings(until=7.5):
    """A hog and a bomb that grow, read ten times a second."""
    return tuple(
        Sample(0.1 * n, min(60, 10 * n) * MIB, 64 * MIB, 0.19, 0.2, min(20, n), 20, MIB, 2 * MIB)
        for n in range(1 + round(10 * until))
    )


def watched(*strikes, samples=None):
    return Curves(samples or readings(), strikes, FILES)


def changed(**values):
    return watched(samples=tuple(replace(sample, **values) for sample in readings()))


def sample(data):
    return curves.page(data), curves.words(data), curves.table(data)


CLOSE = [replace(KILL, at_seconds=at) for at in (3.3, 7.9)]
PAGES = {
    "curves": lambda: sample(watched(KILL, BOMB)),
    "curves with close strikes": lambda: sample(watched(KILL, *CLOSE)),
    "curves just below a limit": lambda: sample(changed(tasks=18)),
    "curves at a limit": lambda: sample(changed(tasks=20)),
    "curves without a controller": lambda: sample(watched(samples=(Sample(0.1, 5 * MIB),))),
}
