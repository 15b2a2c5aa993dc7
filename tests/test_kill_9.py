"""`kill -9` of a notebook's Python, at some moment in its middle: nothing may be left.

One round for each notebook (8 s each); LAB_ROUNDS=20 for more.
"""

import os
import random
import signal
import sys
import tempfile
import time

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from labsupport import probe
from labsupport.engine import listing
from labsupport.engine.client import Engine
from labsupport.engine.listing import IMAGE_OWNER, OWNER
from labsupport.kernel import procfs
from labsupport.kernel.procfs import all_pids
from labsupport.ownership import marks
from tests import census
from tests.engines import uses_engine, why_none
from tests.selection import for_each
from tests.toys import CHECKOUT
from tests.waiting import wait_until

ROUNDS = int(os.environ.get("LAB_ROUNDS", "1"))
NOTEBOOKS = [
    path for path in sorted((CHECKOUT / "notebooks").glob("*.ipynb")) if path.stem[:2] != "00"
]
EVERY_CHANGE = ("02", "06", "09")
ALL_BY = {"06": "cgroup.memory", "12": "qemu"}
ALL_BY_THE_ENGINE = ("09", "11", "13")  # what they start first: nothing could be left without it
PATIENCE_SECONDS = 5


class HostKernel(KernelManager):
    """ipykernel itself, without our launcher between."""

    @property
    def kernel_spec(self):
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        )


def start_kernel(notebook):
    manager = HostKernel()
    manager.start_kernel(cwd=str(notebook.parent))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    return manager, client


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
@for_each(NOTEBOOKS, EVERY_CHANGE)
def test_nothing_is_left_of_a_killed_notebook(notebook, seed, engine, folder):
    need = ALL_BY.get(notebook.stem[:2])
    if need and (refusal := probe().why_not(need)):
        pytest.skip(f"needs {need}: {refusal.reason}")
    if notebook.stem[:2] in ALL_BY_THE_ENGINE and engine is None:
        pytest.skip(f"needs engine: {why_none()}")
    links = census.links()
    manager, client = start_kernel(notebook)
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            client.execute(cell.source, stop_on_error=False)
    kernel = manager.provisioner.pid
    mark = marks.mark(kernel)
    time.sleep(random.Random(f"{notebook.stem}{seed}").uniform(1.5, 8))
    running = wait_until(lambda: started(kernel, mark, engine))

    os.kill(kernel, signal.SIGKILL)

    def left():
        return (running | census.owned_by(mark)) & set(all_pids()) - {kernel}

    wait_until(lambda: not left(), why=lambda: str([*map(procfs.snapshot, left())]))
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    marks.sweep()
    assert {what: found for what, found in census.made(mark, folder).items() if found} == {}
    assert census.links() == links
    if engine:
        assert left_in_engine(engine.client, mark) == []
    assert [path.name for path in folder.glob("labsupport-*")] == []


def started(kernel, mark, engine):
    """Return the notebook's processes once it has made something that could be left."""
    running = census.owned_by(mark) | census.descendants(kernel)
    return running if len(running) > 3 or (engine and labelled(engine.client, mark)) else set()


def left_in_engine(client, mark):
    """Sweep, as the next notebook would, until there is nothing of this owner's, or patience ends.

    An engine may be in the middle of a build's step when its client goes.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while left := labelled(client, mark):
        for leftover in listing.find_in(client):
            leftover.remove()
        if time.monotonic() > until:
            return left
    return []


def labelled(client, mark):
    """What is in an engine with the label of this owner."""
    mine = {"label": OWNER}
    found = client.api.containers(all=True, filters=mine)
    found += client.api.networks(filters=mine)
    found += client.api.volumes(filters=mine)["Volumes"] or []
    found += client.api.images(all=True, filters={"label": IMAGE_OWNER})
    return [
        each.get("Id") or each["Name"]
        for each in found
        if any(each["Labels"].get(key, "").startswith(mark) for key in (OWNER, IMAGE_OWNER))
    ]
