"""Reading /proc, against what the kernel and other programs say."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from labsupport import Sandbox, namespaces, processes, status
from labsupport.errors import ProcessGone
from labsupport.linux import procfs


def test_our_own_status():
    ours = status(os.getpid())
    assert ours.pids[-1] == os.getpid()
    assert ours.parent_pid == os.getppid()
    assert ours.uid == os.getuid()
    assert ours.state == "R"


@pytest.mark.skipif(not shutil.which("lsns"), reason="needs lsns of util-linux")
def test_namespaces_agree_with_lsns():
    with Sandbox(new={"pid", "mount", "uts"}) as box:
        pid = box.pid
        listing = subprocess.run(
            ["lsns", "--noheadings", "--output", "TYPE,NS", "--task", str(pid)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        ours = namespaces(pid)

    files = {kind.file: name for name, kind in procfs.KINDS.items()}
    theirs = {
        files[kind]: int(inode) for kind, inode in map(str.split, listing.stdout.splitlines())
    }
    assert ours == theirs


def test_nested_namespaces_are_in_the_outer_sandbox():
    with Sandbox(new={"pid", "mount"}) as box:
        inner = [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            "echo ready; exec sleep 60",
        ]
        box.start(inner).expect("ready")
        depths = sorted(len(process.pids) for process in processes(of=box))
        deepest = max(processes(of=box), key=lambda process: len(process.pids))
        assert deepest.pid_namespaces[-2:] == (
            namespaces(box.pid)["pid"],
            namespaces(deepest.pid)["pid"],
        )
        assert len(deepest.pid_namespaces) == len(deepest.pids)

    assert depths == [2, 3]
    assert deepest.command == "sleep 60"
    assert deepest.pids[-1] == 1


def test_an_empty_sandbox_has_no_processes():
    with Sandbox(new={"pid", "mount"}) as box:
        assert processes(of=box) == []


def test_several_sandboxes_at_once():
    with Sandbox() as one, Sandbox() as two:
        pids = {one.pid, two.pid}
        assert {process.pid for process in processes(of=[one, two])} == pids


def test_a_process_that_ended_is_named():
    gone = subprocess.Popen(["true"])
    gone.wait()
    for ask in (status, namespaces, procfs.snapshot):
        with pytest.raises(ProcessGone, match=f"process {gone.pid} cannot be read"):
            ask(gone.pid)


def test_a_command_without_arguments_is_in_brackets():
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert procfs.snapshot(zombie.pid).command == "[true]"
    assert procfs.status(zombie.pid).state == "Z"
    zombie.wait()


def facts(found):
    return [(process.pids, process.command, process.namespaces) for process in found]


def test_a_watcher_sees_what_a_full_reading_sees():
    with Sandbox() as one, Sandbox() as two:
        watcher = procfs.Watcher([one, two])
        assert watcher.read() == []
        one.start(["sleep", "60"])
        changing = two.start(["sh", "-c", "sleep 0.3; exec sleep 61"])
        time.sleep(0.1)
        assert facts(watcher.read()) == facts(processes(of=[one, two]))
        second = two.start(["sleep", "60"])
        assert facts(watcher.read()) == facts(processes(of=[one, two]))
        second.signal(9)
        second.wait()
        time.sleep(0.4)
        assert facts(watcher.read()) == facts(processes(of=[one, two]))
        assert procfs.command(changing.pid) == "sleep 61"


BEGIN_ANEW = """
from pathlib import Path
from labsupport import Sandbox, processes
from labsupport.linux import procfs

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
def test_pid_1_is_the_first_even_when_the_numbers_outside_have_begun_anew():
    """In a PID namespace of our own, where numbers may be set."""
    with Sandbox() as outer:
        done = outer.run([sys.executable, "-c", BEGIN_ANEW])
    assert done.stdout.split("\n")[:3] == ["1 2"] * 3, done.stderr
