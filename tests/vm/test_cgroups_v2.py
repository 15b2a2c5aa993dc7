"""The tests of control groups and of dangers, once more: in the Lab VM, where cgroups are v2."""

import sys

import pytest

from labsupport.vm.guest import LabVM
from tests.toys import CHECKOUT

# the guest has the host's /tmp, with folders in it that its root may not enter
PYTEST = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "tests.notebooks", "-p", "no:xdist"]
PYTEST += ["--basetemp=/run/pytest"]
V1_ONLY = 2  # tests of what only v1 does; they say so


@pytest.mark.thorough("cgroup", "kernel", "ownership", "sandbox")
def test_the_same_holds_for_v2(vm_kernel):
    files = [f"tests/cgroup/test_{name}.py" for name in ("cgroups", "delegation", "dangers")]
    with LabVM.boot("512M") as guest:
        done = guest.run([*PYTEST, *files], cwd=CHECKOUT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("v2 " in line for line in skipped), skipped
    assert len(skipped) <= V1_ONLY
