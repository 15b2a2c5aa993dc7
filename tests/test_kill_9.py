"""`kill -9` of a notebook's Python, in the middle of notebook 02: nothing may be left.

Three rounds (20 s); LAB_ROUNDS=20 for more.
"""

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from labsupport import ownership
from labsupport.linux.procfs import all_pids
from tests.toys import CHECKOUT

ROUNDS = int(os.environ.get("LAB_ROUNDS", "3"))
NOTEBOOK = CHECKOUT / "notebooks/02_pid_namespaces.ipynb"
PATIENCE_SECONDS = 5


class HostKernel(KernelManager):
    """ipykernel itself, without our launcher between."""

    @property
    def kernel_spec(self):
        import sys

        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        )


def owned_by(mark):
    """PIDs of the programs that carry an owner's mark, and of its helper processes."""
    found = set()
    for pid in all_pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if f"{ownership.VARIABLE}={mark}".encode() in environment.split(b"\0"):
            found.add(pid)
    return found


def descendants(root):
    parents = {}
    for pid in all_pids():
        try:
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def mounts_of_proc():
    """What a sandbox mounts; that of others on this machine is none of our business."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in table if line.split()[4] == "/proc"]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nothing_is_left_of_a_killed_notebook(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = mounts_of_proc()
    manager = HostKernel()
    manager.start_kernel(cwd=str(NOTEBOOK.parent))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            client.execute(cell.source, stop_on_error=False)
    kernel = manager.provisioner.pid
    mark = ownership.mark(kernel)
    time.sleep(random.Random(seed).uniform(1.5, 7))
    running = owned_by(mark) | descendants(kernel)
    assert len(running) > 3, "it was killed before it had started anything"

    os.kill(kernel, signal.SIGKILL)
    until = time.monotonic() + PATIENCE_SECONDS
    while (
        left := (running | owned_by(mark)) & set(all_pids()) - {kernel}
    ) and time.monotonic() < until:
        time.sleep(0.02)
    client.stop_channels()
    manager.shutdown_kernel(now=True)

    assert not left, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
    assert mounts_of_proc() == before
    ownership.sweep()
    assert [path.name for path in tmp_path.glob("labsupport-*")] == []
