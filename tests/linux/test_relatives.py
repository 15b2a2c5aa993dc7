"""Who listens, who belongs to a group, who has ended: real processes."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport import Sandbox
from labsupport.linux import relatives

LISTENS = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); \
print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "1000"]) as process:
        name = Path(f"/proc/{process.pid}/comm")
        while name.read_text() != "sleep\n":  # exec tells Popen a moment before it sets the name
            time.sleep(0.001)
        yield process
        process.kill()


def test_the_kernel_tells_who_listens_at_a_socket(tmp_path):
    path = tmp_path / "a.sock"
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        server.stdout.readline()
        assert relatives.listener(path) == server.pid
        server.stdin.close()
    assert relatives.listener(path) is None
    assert relatives.listener(tmp_path / "nowhere.sock") is None


def test_who_listens_is_not_who_has_the_socket_later(tmp_path):
    """As with systemd, which listens for a service and hands the socket on."""
    path = tmp_path / "b.sock"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(path))
        ours.listen()
        with subprocess.Popen(["sleep", "1000"], pass_fds=[ours.fileno()]) as other:
            assert relatives.listener(path) == os.getpid()
            other.kill()


def test_members_of_a_group_are_found_by_a_part_of_its_path():
    own = Path("/proc/self/cgroup").read_text().splitlines()
    path = max((line.split(":", 2)[2] for line in own), key=len)
    assert os.getpid() in relatives.group_members(path)
    assert relatives.group_members("no-group-has-this-name") == []


def test_the_first_process_of_a_namespace_is_told_from_others(sleeper):
    with Sandbox(new={"pid", "mount", "user"}) as box:
        started = box.start(["sleep", "1000"])
        assert relatives.first_of([sleeper.pid, started.pid, box.pid]) == box.pid
    assert relatives.first_of([sleeper.pid, 2**22 + 1]) is None


def test_processes_are_found_by_name(sleeper):
    assert sleeper.pid in relatives.named("sleep", "no-such-name")
    assert relatives.named("no-such-name") == []


def test_waiting_ends_with_the_process_or_the_patience(sleeper):
    assert not relatives.wait_gone([sleeper.pid], 0.05)
    sleeper.kill()
    assert relatives.wait_gone([sleeper.pid], 30)
    sleeper.wait()
    assert relatives.wait_gone([sleeper.pid, 2**22 + 1], 0)
