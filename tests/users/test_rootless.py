"""A container of an ordinary user: who it is to the kernel, and what remains of it."""

import os
import re
import tempfile
from pathlib import Path

import pytest

from labsupport import NamespaceTable, mounts
from labsupport.engine import oci_runtime
from labsupport.engine.oci_runtime import find_runtime
from labsupport.errors import LabError, RuntimeMissing
from labsupport.kernel.procfs import all_pids, uid_map
from labsupport.ownership import marks
from labsupport.users.rootless import RootlessContainer, ordinary_uid
from tests.waiting import owner, wait_until

KINDS = {"user", "pid", "mount", "uts", "ipc"}
RUN = """
import time
from labsupport.users.rootless import RootlessContainer
container = RootlessContainer().open()
print(container.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def runtime():
    try:
        return find_runtime()
    except RuntimeMissing as missing:
        pytest.skip(f"needs an OCI runtime: {missing.remedy}")


def folders(pid=None):
    """Folders that name their owner (`labsupport-WHAT-PID-…`): other tests may run meanwhile."""
    mine = re.compile(rf"labsupport-\w+-{pid or os.getpid()}-")
    return [name for name in os.listdir(tempfile.gettempdir()) if mine.match(name)]


def is_contained(pid):
    own = NamespaceTable({"rootless": pid}).own("rootless")
    return os.stat(f"/proc/{pid}").st_uid == ordinary_uid() != 0 and own >= KINDS


def test_it_is_an_ordinary_users_with_namespaces_of_its_own_and_goes(runtime):
    before = set(folders())
    with RootlessContainer() as container:
        pid = container.pid
        assert is_contained(pid)
        assert uid_map(pid).outside(0) == ordinary_uid()
        assert mounts(of=pid).at("/").read_only
        assert Path(runtime).name in repr(container)
        assert set(folders()) - before
    assert pid not in all_pids()
    assert set(folders()) - before == set()


def test_it_ends_with_its_owner_however_that_ends(runtime):
    with owner(RUN) as (notebook, pid):
        assert int(pid) in all_pids()
    wait_until(lambda: int(pid) not in all_pids())
    marks.sweep()
    assert not folders(notebook)


def test_without_a_runtime_it_is_a_sandbox_and_says_so(monkeypatch):
    monkeypatch.setattr(oci_runtime, "RUNTIMES", ("no-such-runtime",))
    with RootlessContainer() as container:
        assert "a Sandbox: there is no container runtime" in repr(container)
        assert is_contained(container.pid)
    with pytest.raises(RuntimeMissing, match=r"none of no-such-runtime.*\n.*docker\.io"):
        find_runtime()


def test_a_runtime_that_gives_up_is_quoted(runtime, monkeypatch):
    monkeypatch.setattr("labsupport.users.rootless.PROGRAM", ("no-such-program",))
    with pytest.raises(LabError, match="no-such-program"), RootlessContainer():
        pass
