"""The Lab VM: boot, a Jupyter kernel in it, its memory, and many at once; medians.

    python benchmarks/lab_vm.py [ROUNDS] [GUESTS]

The kernel that is measured is the one that would be booted; LAB_KERNEL chooses another. GUESTS is
how many are started at the same moment (0: none). The machine should be quiet.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from labsupport.doctor.guest import find_kernel
from labsupport.vm import kernelspecs
from labsupport.vm.guest import LabVM

MIB = 1 << 20
PICTURE = """
from labsupport import CgroupConsole
from labsupport.figure.page import Axes, Page
def paint():
    page = Page(30, "A curve")
    axes = Axes(page, (10, 5, 85, 20), end=100, most=100)
    axes.curve([(at, at) for at in range(100)])
    return page.svg()
paint()
"""
LIVE = """
import time
began, frames = time.monotonic(), 0
while frames < 80:
    print(end=str(len(paint())), flush=True); frames += 1
    time.sleep(max(began + frames / 10 - time.monotonic(), 0))
"""


class Kernel:
    """A Jupyter kernel in a guest, with its client, as Jupyter has it."""

    def __init__(self, specs: Path) -> None:
        self.mark = f"{512 * 1024 + next(_numbers)}K"
        found = KernelSpecManager(kernel_dirs=[str(specs)], ensure_native_kernel=False)
        self.manager = KernelManager(kernel_name="lab-vm", kernel_spec_manager=found)
        self.manager.start_kernel(env={**os.environ, "LAB_MEMORY": self.mark})

    def connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=180)

    def run(self, code: str) -> float:
        """Run a cell; return how long that took, in seconds."""
        began = time.monotonic()
        reply = self.client.execute_interactive(
            code, timeout=120, output_hook=lambda _message: None
        )
        if reply["content"]["status"] != "ok":
            sys.exit(str(reply["content"]))
        return time.monotonic() - began

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def processes(self) -> list[Path]:
        """The launcher, the keeper and the guest's own processes."""
        assert self.manager.provisioner
        launcher = Path(f"/proc/{self.manager.provisioner.process.pid}")
        marked = [
            entry
            for entry in Path("/proc").glob("[0-9]*")
            if f"mem={self.mark}".encode() in _read(entry / "cmdline")
        ]
        return [launcher, *marked]

    def memory_bytes(self) -> int:
        """The file that is the guest's memory, as far as it is filled, and what is private."""
        files, private = {}, 0
        for process in self.processes():
            for line in _read(process / "smaps_rollup").decode().splitlines():
                if line.startswith("Pss_Anon:"):
                    private += int(line.split()[1]) * 1024
            for fd in (process / "fd").iterdir():
                if str(fd.readlink()).endswith("(deleted)"):
                    state = fd.stat()
                    files[state.st_ino] = state.st_blocks * 512
        return private + sum(files.values())

    def cpu_seconds(self) -> float:
        return sum(int((_read(p / "schedstat") or b"0").split()[0]) for p in self.processes()) / 1e9


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


_numbers = iter(range(os.getpid() % 1000 * 64, 1 << 30))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    guests = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    print(f"kernel {find_kernel()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with installed() as specs:
        boot(rounds)
        kernels(rounds, specs)
        if guests:
            many(guests, specs)


@contextmanager
def installed() -> Iterator[Path]:
    """The kernelspecs, in a folder of their own."""
    with tempfile.TemporaryDirectory() as prefix:
        kernelspecs.install(prefix)
        yield Path(prefix) / "share" / "jupyter" / "kernels"


def boot(rounds: int) -> None:
    """From nothing to a program's output and off again."""
    seconds = []
    for _ in range(rounds):
        began = time.monotonic()
        with LabVM.boot("512M") as guest:
            assert guest.run([sys.executable, "-c", "print('hello')"]).stdout == "hello\n"
        seconds.append(time.monotonic() - began)
    told("boot, python hello, power off", seconds, "s")


def kernels(rounds: int, specs: Path) -> None:
    """One kernel at a time."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        began = time.monotonic()
        kernel = Kernel(specs)
        kernel.connect()
        kernel.run("print('hello')")
        laps = {"first cell s": time.monotonic() - began}
        laps["round trip ms"] = (
            statistics.median(kernel.run(f"print({n})") for n in range(60)) * 1e3
        )
        laps["1 MB of output s"] = kernel.run("print('x' * 1000000)")
        laps["300 kB of input s"] = kernel.run(f"d = {'y' * 300_000!r}")
        laps["first picture s"] = kernel.run(PICTURE)
        laps["memory MB"] = kernel.memory_bytes() / MIB
        before = kernel.cpu_seconds()
        time.sleep(3)
        laps["idle %"] = (kernel.cpu_seconds() - before) / 3 * 100
        before, began = kernel.cpu_seconds(), time.monotonic()
        kernel.run(LIVE)
        used, passed = kernel.cpu_seconds() - before, time.monotonic() - began
        laps["live picture, 10 frames/s %"] = used / passed * 100
        kernel.close()
        for name, value in laps.items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        told(name.rpartition(" ")[0], values, name.rpartition(" ")[2])


def many(guests: int, specs: Path) -> None:
    """All started at the same moment."""
    began = time.monotonic()
    kernels = [Kernel(specs) for _ in range(guests)]
    for kernel in kernels:
        kernel.connect()
    told(f"{guests} at once, all ready", [time.monotonic() - began], "s")
    told("memory of each, idle", [kernel.memory_bytes() / MIB for kernel in kernels], "MB")
    before = sum(kernel.cpu_seconds() for kernel in kernels)
    time.sleep(5)
    used = sum(kernel.cpu_seconds() for kernel in kernels) - before
    told("all idle, of the machine", [used / 5 / (os.cpu_count() or 1) * 100], "%")
    for kernel in kernels:
        kernel.close()


def told(what: str, values: list[float], unit: str) -> None:
    least, most = min(values), max(values)
    print(
        f"{what:32} {statistics.median(values):8.2f} {unit}  ({least:.2f}-{most:.2f})", flush=True
    )


if __name__ == "__main__":
    main()
