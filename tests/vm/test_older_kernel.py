"""Helpers on a kernel that is older than most machines', Debian's User-Mode Linux (about 5 s)."""

import sys
from pathlib import Path

import pytest

from labsupport.doctor.guest import loses_registers
from labsupport.vm.guest import LabVM

DEBIANS = Path("/usr/bin/linux.uml")
OBSERVE = """
from labsupport import Filter, record
print(record(["sh", "-c", "(sleep 0.1 &) ; ls / > /dev/null"], timeout=20))
print(Filter.deny(["chroot"], "kill").agreement())
"""


@pytest.fixture
def older_guest(vm_kernel, monkeypatch):
    if not DEBIANS.exists():
        pytest.skip("needs Debian's kernel (apt-get install user-mode-linux)")
    if loses_registers(str(DEBIANS)):
        pytest.skip("needs a CPU without AMX: Debian's kernel cannot restore its registers")
    monkeypatch.setenv("LAB_KERNEL", str(DEBIANS))
    with LabVM.boot("256M") as guest:
        yield guest


def test_programs_are_observed_and_calls_tried(older_guest):
    """Before Linux 6.11, a filter's listener hears of an end only once it was waited for."""
    done = older_guest.run([sys.executable, "-c", OBSERVE], timeout=60)
    assert "different system calls" in done.stdout, done.stderr
    assert "agree on all" in done.stdout, done.stderr
