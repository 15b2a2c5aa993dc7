"""The system calls that a program makes, and a filter made of them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest

from labsupport.errors import LabError, ProgramNotFound, TimedOut
from labsupport.seccomp.recording import record
from tests import census
from tests.waiting import wait_until


def test_a_program_runs_as_without_being_observed():
    seen = record(["sh", "-c", "echo hello; echo no >&2; exit 3"])

    assert seen.completed.stdout == "hello\n"
    assert seen.completed.stderr == "no\n"
    assert seen.completed.returncode == 3


def test_the_counts_are_those_of_strace():
    strace = shutil.which("strace") or pytest.skip("needs strace (apt-get install strace)")
    done = subprocess.run(
        [strace, "-f", "-qq", "cat", "/dev/null"], capture_output=True, text=True, check=True
    )
    said = Counter(line.partition("(")[0] for line in done.stderr.splitlines() if "(" in line)
    assert dict(record(["cat", "/dev/null"]).counts) == dict(said)


def test_a_program_that_takes_too_long_is_ended_with_its_children():
    with pytest.raises(TimedOut, match="sleep 4711"):
        record(["sh", "-c", "setsid sleep 4711 & sleep 4711"], timeout=0.5)
    assert not census.running("sleep 4711")


def test_an_observer_that_is_told_twice_to_end_ends_all_the_same():
    """By the cell that is interrupted, and by the notebook's end, while it ends what it started."""
    code = "from labsupport import record; record(['sh', '-c', 'sleep 4714 & sleep 4714'])"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as notebook:
        wait_until(lambda: len(census.running("sleep 4714")) == 5, 20)
        (observer,) = census.running("lean.py") & census.running("sleep 4714")
        with suppress(ProcessLookupError):
            for _ in range(40):
                os.kill(observer, signal.SIGTERM)
                time.sleep(0.0003)
        wait_until(lambda: not census.running("sleep 4714"))
        notebook.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_notebook_that_is_killed_or_a_cell_that_is_interrupted(how):
    code = "from labsupport import record; record(['sh', '-c', 'setsid sleep 4713 & sleep 4713'])"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as notebook:
        wait_until(lambda: len(census.running("sleep 4713")) > 2, 20)  # two, and who runs them
        notebook.send_signal(how)
    wait_until(lambda: not census.running("sleep 4713"))


def test_a_text_is_a_line_for_a_shell():
    assert record("echo $((6 * 7))").completed.stdout == "42\n"
    with pytest.raises(LabError, match="no program to run"):
        record([])
    with pytest.raises(ProgramNotFound, match="no_such_program"):
        record(["no_such_program"])


def test_an_ordinary_user_can_observe(as_user):
    code = "from labsupport.seccomp.recording import record; print(record(['true']).names[0])"
    assert as_user([sys.executable, "-c", code], cwd="/").stdout == "execve\n"
