"""Start a kernel where `auto` puts it, kill its launcher, and tell in JSON what was and is.

test_in_container.py runs it in its container, where every process and every file is its own.
"""

import json
import os
import signal
import time
from pathlib import Path

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from labsupport.vm import kernelspecs

PREFIX = Path("/tmp/prefix")
GROUP = Path("/sys/fs/cgroup")
MEMORY = (GROUP / "memory.current", GROUP / "memory" / "memory.usage_in_bytes")
JUPYTERS = {".cache", ".config", ".ipython", ".jupyter", ".local", "prefix"}
PLACE = "import os; print(os.getuid(), os.environ['LAB_PLACE'])"
PICTURE = "import io, matplotlib.pyplot as plt; plt.plot([1]); plt.savefig(io.BytesIO())"


def main() -> None:
    kernelspecs.install(PREFIX)
    specs = KernelSpecManager(kernel_dirs=[str(PREFIX / "share/jupyter/kernels")])
    before = charged()
    manager = KernelManager(kernel_name="python3", kernel_spec_manager=specs)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    said = cell(client, PLACE) + cell(client, PICTURE)
    found = {"said": said, "charged_mb": (charged() - before) / 1e6, "running": len(running())}
    os.kill(manager.provisioner.process.pid, signal.SIGKILL)
    found["left"] = wait_until_gone()
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    found["zombies"] = sorted({*psutil.pids()} - {os.getpid()})
    found["files"] = sorted(set(os.listdir("/tmp")) - JUPYTERS)
    print(json.dumps(found))


def cell(client: BlockingKernelClient, code: str) -> str:
    """Run a cell; return what it prints, and the name of its error."""
    parts = []
    client.execute_interactive(
        code, timeout=30, output_hook=lambda message: parts.append(message["content"])
    )
    printed = [part["text"] for part in parts if part.get("name") == "stdout"]
    return "".join([*printed, *(part["ename"] for part in parts if "ename" in part)]).strip()


def charged() -> int:
    """The memory that this container is charged for, in bytes, in either version of cgroups."""
    return int(next(file for file in MEMORY if file.exists()).read_text())


def running() -> list[int]:
    """Every process but this one, and those that have ended."""
    each = psutil.process_iter(["pid", "status"])
    found = [it.info["pid"] for it in each if it.info["status"] != psutil.STATUS_ZOMBIE]
    return [pid for pid in found if pid != os.getpid()]


def wait_until_gone(seconds: float = 2) -> list[int]:
    """Wait until nothing else runs; return what still does."""
    until = time.monotonic() + seconds
    while (left := running()) and time.monotonic() < until:
        time.sleep(0.02)
    return left


if __name__ == "__main__":
    main()
