"""The Lab VM's own engine: seconds from its first use to its answer, and what follows.

    python benchmarks/engine_start.py [ROUNDS] [BACKEND]

Each round is a guest of its own. All is timed inside, by the guest's clock; medians.
"""

from __future__ import annotations

import json
import statistics
import sys

from labsupport import LabVM

PROGRAM = """
import json, time
from labsupport.engine.client import Engine
laps = {}
def lap(name, action):
    began = time.monotonic()
    result = action()
    laps[name] = time.monotonic() - began
    return result
engine = lap("engine ready after first use", Engine.connect)
image = lap("base image made", engine.base_image)
def run(**options):
    return engine.client.containers.run(image, ["true"], remove=True, **options)
lap("docker run true, no network", lambda: run(network_mode="none"))
lap("docker run true, bridge", run)
lap("docker run true, limited", lambda: run(mem_limit="32m", pids_limit=20, nano_cpus=10**9))
print(json.dumps(laps))
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    backend = sys.argv[2] if len(sys.argv) > 2 else "uml"
    laps = []
    for _ in range(rounds):
        with LabVM.boot(memory="1G", backend=backend) as guest:
            done = guest.run([sys.executable, "-c", PROGRAM], timeout=300)
            laps.append(json.loads(done.stdout or sys.exit(done.stderr)))
    for name in laps[0]:
        seconds = sorted(lap[name] for lap in laps)
        print(
            f"{name:32} {statistics.median(seconds):6.2f} s  ({seconds[0]:.2f}-{seconds[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
