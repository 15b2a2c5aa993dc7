"""The live PID map: how much of a core it takes while a process begins and ends each second.

    python benchmarks/pid_map.py [SECONDS]

It asks for ten frames a second, and counts the time of this process: reading /proc,
painting what changed, encoding the picture. (The browser's part is not in it.)
"""

import asyncio
import sys
import time

from labsupport import PidMap, Sandbox

FRAMES_PER_SECOND = 10


async def measure(seconds: float) -> tuple[float, float]:
    """Return (share of a core, frames per second)."""
    with Sandbox() as web, Sandbox() as database:
        web.start(["sh", "-c", "while :; do sleep 1; done"])
        database.start(["sleep", "3600"])
        pid_map = PidMap({"web server": web, "database": database})
        pid_map.refresh()  # the first painting does not count as a frame
        frames = 0

        def step() -> None:
            nonlocal frames
            frames += 1
            pid_map.refresh()

        began, used = time.monotonic(), time.process_time()
        await pid_map.picture.keep_going(step, seconds, FRAMES_PER_SECOND)
        elapsed = time.monotonic() - began
        return (time.process_time() - used) / elapsed, frames / elapsed


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    share, rate = asyncio.run(measure(seconds))
    print(f"PID map, {rate:.1f} frames/s   {100 * share:5.2f} % of a core")


if __name__ == "__main__":
    main()
