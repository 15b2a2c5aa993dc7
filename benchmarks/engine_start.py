"""The Lab VM's own engine: seconds from its first use to its answer, and what follows.

    python benchmarks/engine_start.py [ROUNDS] [MEMORY]

Each round is a guest of its own, once with its images on the guest's disk and once in its memory.
Everything is timed inside, by the guest's clock; medians. "memory" is what the guest takes of the
host's.
"""

import json
import statistics
import sys
from pathlib import Path

from labsupport import LabVM
from labsupport.vm.guest import DEFAULT_MEMORY

IMAGE_MB = 64  # of bytes that do not compress

PROGRAM = f"""
import json, os, time
from labsupport.build import bases
from labsupport.engine.client import Engine
from labsupport.engine.daemon import scratch
laps = {{}}
def lap(name, action):
    began = time.monotonic()
    result = action()
    laps[name] = time.monotonic() - began
    return result
engine = lap("engine ready after first use", Engine.connect)
layer = bases.pack({{"large": bases.a_file(os.urandom({IMAGE_MB} << 20))}})
large = scratch() / "large.tar"
large.write_bytes(bases.archive("large:latest", [layer], ["COPY large /"]))
del layer
image = lap("base image made", lambda: bases.base_image(engine))
def run(**options):
    return engine.client.containers.run(image, ["true"], remove=True, **options)
lap("docker run true, no network", lambda: run(network_mode="none"))
lap("docker run true, bridge", run)
lap("docker run true, limited", lambda: run(mem_limit="32m", pids_limit=20, nano_cpus=10**9))
def load():
    with large.open("rb") as file:
        engine.client.images.load(file)
lap("{IMAGE_MB} MB image loaded", load)
print(json.dumps(laps))
"""


def measure(memory: str, environment: dict[str, str]) -> dict[str, float]:
    """Run one round; return seconds, and megabytes of the host's memory."""
    with LabVM.boot(memory=memory) as guest:
        done = guest.run([sys.executable, "-c", PROGRAM], timeout=600, env=environment)
        laps = json.loads(done.stdout or sys.exit(done.stderr))
        return {**laps, "memory, MB": resident(guest) / 1e6}


def resident(guest: LabVM) -> int:
    """Return the bytes of the guest's largest process: its memory is mapped in all of them."""
    found = []
    for child in Path(f"/proc/{guest._keeper.pid}/task").glob("*/children"):
        for pid in child.read_text().split():
            status = Path(f"/proc/{pid}/status").read_text()
            found.append(int(status.partition("VmRSS:")[2].split()[0]) << 10)
    return max(found)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    memory = sys.argv[2] if len(sys.argv) > 2 else DEFAULT_MEMORY
    for title, environment in {"on its disk": {}, "in its memory": {"LAB_DISK": ""}}.items():
        laps = [measure(memory, environment) for _ in range(rounds)]
        print(f"images {title}, a guest of {memory}")
        for name in laps[0]:
            figures = sorted(lap[name] for lap in laps)
            print(
                f"  {name:32} {statistics.median(figures):7.2f}"
                f"  ({figures[0]:.2f}-{figures[-1]:.2f})"
            )


if __name__ == "__main__":
    main()
