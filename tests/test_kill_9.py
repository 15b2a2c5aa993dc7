"""`kill -9` of a notebook's Python, at some moment in its middle: nothing may be left.

One round for each notebook (8 s each); LAB_ROUNDS=20 for more.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from labsupport import ownership, probe
from labsupport.linux.procfs import all_pids
from tests import census
from tests.toys import CHECKOUT

ROUNDS = int(os.environ.get("LAB_ROUNDS", "1"))
NOTEBOOKS = [
    path for path in sorted((CHECKOUT / "notebooks").glob("*.ipynb")) if path.stem[:2] != "00"
]
PATIENCE_SECONDS = 5


class HostKernel(KernelManager):
    """ipykernel itself, without our launcher between."""

    @property
    def kernel_spec(self):
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_left_of_a_killed_notebook(notebook, seed, folder):
    if notebook.stem == "06_cgroups" and (refusal := probe().why_not("cgroup.memory")):
        pytest.skip(f"needs cgroup.memory: {refusal.reason}")
    links = census.links()
    manager = HostKernel()
    manager.start_kernel(cwd=str(notebook.parent))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            client.execute(cell.source, stop_on_error=False)
    kernel = manager.provisioner.pid
    mark = ownership.mark(kernel)
    time.sleep(random.Random(f"{notebook.stem}{seed}").uniform(1.5, 8))
    running = census.owned_by(mark) | census.descendants(kernel)
    assert len(running) > 3, "it was killed before it had started anything"

    os.kill(kernel, signal.SIGKILL)
    left = wait_for_the_end(running, mark, kernel)
    client.stop_channels()
    manager.shutdown_kernel(now=True)

    assert not left, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
    ownership.sweep()
    assert {what: found for what, found in census.made(mark, folder).items() if found} == {}
    assert census.links() == links
    assert [path.name for path in folder.glob("labsupport-*")] == []


def wait_for_the_end(running, mark, kernel):
    until = time.monotonic() + PATIENCE_SECONDS
    while left := (running | census.owned_by(mark)) & set(all_pids()) - {kernel}:
        if time.monotonic() > until:
            return left
        time.sleep(0.02)
    return left
