"""Reading out the filters of live processes, as root of this machine."""

import os
import signal
import sys
import time

import pytest

from labsupport import Filter, Sandbox
from labsupport.errors import LabError
from labsupport.kernel.procfs import status, status_fields
from labsupport.seccomp import filter as filter_module
from tests.toys import CHECKOUT
from tests.waiting import wait_until

needs_reading = pytest.mark.needs("seccomp.read")


@pytest.fixture
def filtered():
    """Two filters in one, and a program that sleeps under them."""
    first, second = Filter.deny(["mkdir"]), Filter.deny(["rmdir", "reboot"], "ENOSYS")
    both = Filter((*first.programs, *second.programs))
    with Sandbox(filter=both) as box:
        yield both, box.start(["sleep", "60"])


@needs_reading
def test_what_is_read_is_what_was_loaded_oldest_first(filtered):
    both, program = filtered
    read = Filter.of(program.pid)
    assert read.programs == both.programs
    assert read.verdict("mkdir").errno == "EPERM"
    assert read.verdict("rmdir").errno == "ENOSYS"


@needs_reading
@pytest.mark.parametrize("state", ["S", "T"])
def test_the_process_goes_on_afterwards_or_stays_stopped(filtered, state):
    _, program = filtered
    if state == "T":
        program.signal(signal.SIGSTOP)
    wait_until(lambda: status(program.pid).state == state)
    Filter.of(program.pid)
    assert status_fields(program.pid)["TracerPid"] == "0"
    time.sleep(0.05)
    wait_until(lambda: status(program.pid).state == state)


@needs_reading
def test_a_process_that_does_not_stop_is_let_go(tmp_path, monkeypatch):
    """A parent in vfork(2) waits for its child, and for nothing else; its end must be its own."""
    monkeypatch.setattr(filter_module, "STOP_SECONDS", 0.1)
    os.mkfifo(fifo := tmp_path / "nobody writes here")
    code = (
        "import os, sys\n"
        "opens = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)\n"
        "os.posix_spawn('/bin/true', ['true'], {}, file_actions=[opens])\n"
    )
    with Sandbox(filter=Filter.deny(["mkdir"])) as box:
        program = box.start([sys.executable, "-c", code, fifo])
        wait_until(lambda: status(program.pid).state == "D")
        with pytest.raises(LabError, match="did not stop"):
            Filter.of(program.pid)
        # Python is told of its thread's end a moment before the kernel lets the program go
        wait_until(lambda: status_fields(program.pid)["TracerPid"] == "0")


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
def test_who_is_filtered_may_not_read_filters(filtered):
    _, program = filtered
    code = f"from labsupport import Filter; Filter.of({program.pid})"
    with Sandbox(new={"uts"}, filter=Filter.deny(["rmdir"])) as box:
        done = box.run([sys.executable, "-c", code], cwd=CHECKOUT)
    assert "under a seccomp filter ourselves" in done.stderr
