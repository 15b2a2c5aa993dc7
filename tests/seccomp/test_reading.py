"""Reading out the filters of live processes, as root of this machine."""

import contextlib
import os
import signal
import sys
import time

import pytest

from labsupport import Filter, probe
from labsupport.errors import LabError
from labsupport.kernel import syscalls as sc
from labsupport.kernel.procfs import status, status_fields
from tests.waiting import wait_until

needs_reading = pytest.mark.skipif(
    not probe().can("seccomp.read"), reason=f"seccomp.read: {probe().why_not('seccomp.read')}"
)


@contextlib.contextmanager
def process_under(*filters):
    """A child under filters, oldest first, that sleeps until the end of the block."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
            sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
            for each in filters:
                sc.seccomp_set_filter(*each.programs)
            os.write(tell, b"1")
            while True:
                time.sleep(100)
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(ready, 1)
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def await_state(pid, state):
    wait_until(lambda: status(pid).state == state)


@needs_reading
def test_what_is_read_is_what_was_loaded_oldest_first():
    first, second = Filter.deny(["mkdir"]), Filter.deny(["rmdir", "reboot"], "ENOSYS")
    with process_under(first, second) as pid:
        read = Filter.of(pid)

    assert read.programs == first.programs + second.programs
    assert read.verdict("mkdir").errno == "EPERM"
    assert read.verdict("rmdir").errno == "ENOSYS"


@needs_reading
def test_the_process_goes_on_afterwards():
    with process_under(Filter.deny(["mkdir"])) as pid:
        Filter.of(pid)
        assert status_fields(pid)["TracerPid"] == "0"
        await_state(pid, "S")


@needs_reading
def test_a_stopped_process_can_be_read_and_stays_stopped():
    with process_under(Filter.deny(["mkdir"])) as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        assert Filter.of(pid).verdict("mkdir").errno == "EPERM"
        time.sleep(0.05)
        await_state(pid, "T")


def test_an_ordinary_user_is_told_what_it_takes(as_user):
    code = (
        "import subprocess, sys, time\n"
        "from labsupport import Filter, Sandbox\n"
        "with Sandbox(filter=Filter.deny(['mkdir'])) as box:\n"
        "    Filter.of(box.start(['sleep', '60']).pid)\n"
    )
    done = as_user([sys.executable, "-c", code], cwd="/")
    assert "LabError" in done.stderr
    assert "CAP_SYS_ADMIN in the initial user namespace" in done.stderr
    assert "Lab VM" in done.stderr


@needs_reading
def test_who_is_filtered_may_not_read_filters():
    with process_under(Filter.deny(["mkdir"])) as pid:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
                sc.seccomp_set_filter(*Filter.deny(["rmdir"]).programs)
                Filter.of(pid)
            except LabError as no:
                os.write(writing, str(no).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert b"under a seccomp filter ourselves" in os.read(reading, 1000)
