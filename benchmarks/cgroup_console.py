"""The console of a group: how much of a core it takes while a burner is throttled in the group.

    python benchmarks/cgroup_console.py [SECONDS]

It asks for five frames and twenty readings a second, and counts the time of this process:
reading the group's files, painting what changed, encoding the picture; and of that the reading
alone. (The browser's part is not in it.)
"""

import asyncio
import sys
import time

from labsupport import Cgroup, CgroupConsole
from labsupport.cgroup import dangers
from labsupport.cgroup.console import READINGS_PER_SECOND
from labsupport.cgroup.curves import GroupRecord

READINGS = 2000


async def watching(group: Cgroup, seconds: float) -> tuple[float, float]:
    """Return (share of a core, frames per second)."""
    console = CgroupConsole(group)
    console._start_again(seconds)  # the first painting does not count as a frame
    frames = 0
    refresh = console.refresh

    def counted() -> None:
        nonlocal frames
        frames += 1
        refresh()

    console.refresh = counted  # type: ignore[method-assign]
    began, used = time.monotonic(), time.process_time()
    await console._watch(seconds, {})
    elapsed = time.monotonic() - began
    return (time.process_time() - used) / elapsed, frames / elapsed


def reading(group: Cgroup) -> float:
    """Return the share of a core that the readings take."""
    record = GroupRecord(group)
    used = time.process_time()
    for _ in range(READINGS):
        record.sample()
    each = (time.process_time() - used) / READINGS
    return each * READINGS_PER_SECOND


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    with Cgroup(memory="64M", pids=20, cpu=0.2) as group:
        burner = dangers.burner(group, seconds=round(seconds) + 5)
        share, rate = asyncio.run(watching(group, seconds))
        print(f"console, {rate:.1f} frames/s   {100 * share:5.2f} % of a core")
        print(f"of that the readings     {100 * reading(group):5.2f} % of a core")
        burner.stop()


if __name__ == "__main__":
    main()
