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
from labsupport.engine import leftovers
from labsupport.engine.client import Engine
from labsupport.engine.labels import OWNER
from labsupport.linux.procfs import all_pids
from tests import census
from tests.engines import uses_engine, why_none
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
def engine(notebook, request):
    """A connection to an engine, if the notebook uses one and we may start one."""
    if why_none() or not uses_engine(notebook):
        yield None
        return
    request.getfixturevalue("an_engine")
    with Engine.connect() as engine:
        yield engine


@pytest.fixture
def folder(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_left_of_a_killed_notebook(notebook, seed, engine, folder):
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
    if engine:
        for leftover in leftovers.find_in(engine.client):
            leftover.remove()
        assert labelled(engine.client, mark) == []
    assert [path.name for path in folder.glob("labsupport-*")] == []


def labelled(client, mark):
    """What is in an engine with the label of this owner."""
    mine = {"label": OWNER}
    found = [*client.containers.list(all=True, filters=mine, ignore_removed=True)]
    found += [*client.networks.list(filters=mine), *client.volumes.list(filters=mine)]
    labels = [getattr(each, "labels", None) or each.attrs.get("Labels") or {} for each in found]
    return [each.name for each, of in zip(found, labels, strict=True) if of[OWNER].startswith(mark)]


def wait_for_the_end(running, mark, kernel):
    until = time.monotonic() + PATIENCE_SECONDS
    while left := (running | census.owned_by(mark)) & set(all_pids()) - {kernel}:
        if time.monotonic() > until:
            return left
        time.sleep(0.02)
    return left
