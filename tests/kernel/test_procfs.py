"""Reading /proc, against what the kernel and other programs say."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport import Sandbox, mounts, namespaces, processes
from labsupport.errors import ProcessGone
from labsupport.kernel import procfs
from labsupport.kernel.mounts import parse
from labsupport.kernel.procfs import status
from labsupport.ownership import marks
from labsupport.sandbox.launch import may_make_namespaces
from tests.waiting import sleeper


def test_a_process_that_ended_is_named():
    gone = subprocess.Popen(["true"])
    gone.wait()
    for ask in (status, namespaces, procfs.snapshot, mounts):
        with pytest.raises(ProcessGone, match=f"process {gone.pid} cannot be read"):
            ask(gone.pid)


def test_a_command_without_arguments_is_in_brackets():
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert procfs.snapshot(zombie.pid).command == "[true]"
    assert procfs.status(zombie.pid).state == "Z"
    zombie.wait()


LATIN_1 = """
import os, sys
from labsupport import Sandbox, mounts
from labsupport.kernel.mounts import trees
from labsupport.ownership import marks
from labsupport.users.namespaces import keepers, namespace
with Sandbox({"uts"}) as box:
    print(box.run(["echo", "fine"]).stdout, end="")
point = os.fsencode(mounts().lines[-1].point)
print(point.endswith(b"/B\\xfcro"), "B\\\\xfcro" in repr(mounts()))
trees(), marks.main(["--dry-run"]), keepers(namespace("uts"))
"""


@pytest.mark.skipif(not may_make_namespaces(), reason="needs CAP_SYS_ADMIN: it mounts something")
def test_a_mount_point_may_have_a_name_that_is_not_utf_8(tmp_path):
    """A USB stick that was named in Latin-1: it is shown escaped, and nothing fails."""
    name = os.fsencode(tmp_path) + b"/B\xfcro"
    os.mkdir(name)
    script = b'mount -t tmpfs none "$0"; exec "$@"'
    argv = [*("unshare", "-m", "sh", "-c"), script, name, sys.executable, "-c", LATIN_1]
    assert subprocess.check_output(argv, text=True).startswith("fine\nTrue True\n")


def test_what_follows_the_source_of_a_mount_is_all_options():
    """WSL 2 with Docker Desktop: 9p does not escape the blanks in its options."""
    line = (
        r"2619 80 0:302 / /Docker/host rw,noatime - 9p C:\134Program\040Files\134D rw,dirsync,"
        r"aname=drvfs;path=C:\Program Files\D\resources;symlinkroot=/mnt/,mmap,trans=fd"
    )
    mount = parse(line)
    assert mount.source == r"C:\Program Files\D"
    assert (
        mount.super_options[2] == r"aname=drvfs;path=C:\Program Files\D\resources;symlinkroot=/mnt/"
    )
    assert parse("1 0 0:2 / / rw - tmpfs  rw").source == ""


HIDDEN = """
import os, signal, subprocess
from labsupport import processes
from labsupport.errors import ProcessGone
from labsupport.kernel import proc
from labsupport.kernel.procfs import status
from labsupport.ownership import marks
init = "1:1:" + marks.mark()[-8:]
print(os.getpid() in [process.pid for process in processes()], marks.is_alive(init))
try:
    status(1)
except ProcessGone as error:
    print(error)
child = subprocess.Popen(["sleep", "60"])
print(proc.children() == [child.pid])
child.kill()
"""


def where_others_are_hidden(how, code):
    """Run Python as nobody in particular where /proc is mounted with `hidepid`."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts /proc")
    script = (
        f"umount -l /proc; mount -t proc -o hidepid={how} proc /proc; "
        'exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"'
    )
    argv = ["unshare", "-m", "sh", "-ec", script, "sh", sys.executable, "-c", code]
    return subprocess.check_output(argv, text=True).splitlines()


def test_where_others_processes_are_hidden_ours_are_read():
    """As on hardened machines with many users: reading gives EPERM there."""
    told = "process 1 cannot be read: it belongs to somebody else"
    assert where_others_are_hidden(1, HIDDEN) == ["True True", told, "True"]


def told(found):
    return [(process.pids, process.command, process.namespaces) for process in found]


def test_a_watcher_sees_what_a_full_reading_sees():
    held, release = os.pipe()
    with Sandbox() as one, Sandbox() as two:
        watcher = procfs.Watcher([one, two])
        assert watcher.read() == []
        one.start(["sleep", "60"])
        changing = two.start(["sh", "-c", "read line; exec sleep 61"], stdin=held)
        assert told(watcher.read()) == told(processes(of=[one, two]))
        second = two.start(["sleep", "60"])
        assert told(watcher.read()) == told(processes(of=[one, two]))
        second.signal(9)
        second.wait()
        os.write(release, b"\n")
        while procfs.command(changing.pid) != "sleep 61":
            time.sleep(0.001)
        assert told(watcher.read()) == told(processes(of=[one, two]))
    os.close(held)
    os.close(release)


BEGIN_ANEW = """
from pathlib import Path
from labsupport import Sandbox, processes
from labsupport.kernel import procfs

last = Path("/proc/sys/kernel/ns_last_pid")
with Sandbox() as box:
    watcher = procfs.Watcher([box])
    last.write_text("30000")
    first = box.start(["sleep", "60"])
    last.write_text("400")
    second = box.start(["sleep", "61"])
    assert first.pid > second.pid, (first.pids, second.pids)
    for found in (processes(of=box), processes(of=[box]), watcher.read()):
        print(*(process.pids[-1] for process in found))
"""


@pytest.mark.skipif(
    not os.path.exists("/proc/sys/kernel/ns_last_pid"),
    reason="needs /proc/sys/kernel/ns_last_pid (CONFIG_CHECKPOINT_RESTORE)",
)
def test_pid_1_is_the_first_even_when_the_numbers_outside_start_again():
    """In a PID namespace of our own, where numbers may be set."""
    with Sandbox() as outer:
        done = outer.run([sys.executable, "-c", BEGIN_ANEW])
    assert done.stdout.split("\n")[:3] == ["1 2"] * 3, done.stderr


def test_who_listens_at_a_socket_is_not_who_has_it_later(tmp_path):
    """As with systemd, which listens for a service and hands the socket on."""
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(path))
        ours.listen()
        with subprocess.Popen(["sleep", "1000"], pass_fds=[ours.fileno()]) as other:
            assert procfs.listener(path) == os.getpid()
            other.kill()
    assert procfs.listener(path) is None
    assert procfs.listener(tmp_path / "nowhere.sock") is None


def test_members_of_a_group_are_found_by_a_part_of_its_path():
    own = Path("/proc/self/cgroup").read_text().splitlines()
    path = max((line.split(":", 2)[2] for line in own), key=len)
    assert os.getpid() in procfs.group_members(path)
    assert procfs.group_members("no-group-has-this-name") == []


def test_the_first_process_of_a_namespace_is_told_from_others():
    with sleeper() as other, Sandbox(new={"pid", "mount", "user"}) as box:
        started = box.start(["sleep", "1000"])
        assert procfs.first_of([other.pid, started.pid, box.pid]) == box.pid
        assert procfs.first_of([other.pid, 2**22 + 1]) is None


def test_processes_are_found_by_name_and_waited_for_until_they_end_or_patience_does():
    with sleeper() as process:
        assert process.pid in procfs.named("sleep", "no-such-name")
        assert procfs.named("no-such-name") == []
        assert not procfs.wait_gone([process.pid], 0.05)
        process.kill()
        assert procfs.wait_gone([process.pid], 30)
    assert procfs.wait_gone([process.pid, 2**22 + 1], 0)


@pytest.mark.parametrize("how", [1, 2])
def test_an_owner_that_is_hidden_lives(how):
    code = f"from labsupport.ownership import marks; print(marks.is_alive({marks.mark()!r}))"
    assert where_others_are_hidden(how, code) == ["True"]


ASKS_LATE = """
import os, time
from labsupport.kernel import syscalls

if os.fork() == 0:
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(0.001)
        syscalls.end_with(parent)
        os.write(1, b"alive")
    os._exit(0)
"""


def test_who_asks_to_end_with_a_parent_that_has_ended_ends():
    assert subprocess.check_output([sys.executable, "-c", ASKS_LATE]) == b""
