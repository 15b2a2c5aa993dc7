"""The reaper ends all that a program has started, however far it has run (1 s)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport.linux.reaper import CGROUPS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes a mount namespace")

# sh starts a program that leaves its session and loses its parent, as daemons do
RUNAWAY = "(setsid sh -c 'echo $$ > {pid}; exec sleep 600' &) ; {rest}"


def start(*options: str, script: str) -> subprocess.Popen:
    argv = [sys.executable, "-m", "labsupport.linux.reaper", str(os.getpid()), *options]
    return subprocess.Popen([*argv, "--", "sh", "-c", script], stdin=subprocess.PIPE)


def wait_for(file: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if file.exists() and file.read_text().endswith("\n"):
            return int(file.read_text())
        time.sleep(0.01)
    raise AssertionError(f"{file} was not written")


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("how", ["input closed", "a byte", "SIGTERM"])
def test_a_daemon_ends_when_it_is_told(tmp_path, how):
    pid = tmp_path / "pid"
    reaper = start(script=RUNAWAY.format(pid=pid, rest="sleep 600"))
    runaway = wait_for(pid)
    if how == "SIGTERM":
        reaper.send_signal(signal.SIGTERM)
    elif how == "a byte":
        os.write(reaper.stdin.fileno(), b"!")

    reaper.communicate(timeout=10)
    assert not exists(runaway)


def test_a_daemon_ends_with_the_program_that_started_it(tmp_path):
    pid = tmp_path / "pid"
    reaper = start(script=RUNAWAY.format(pid=pid, rest=f"until [ -s {pid} ]; do :; done; exit 3"))

    assert reaper.wait(10) == 3
    assert not exists(wait_for(pid))


def test_its_mounts_and_covers_are_nobody_elses_and_vanish(tmp_path):
    folder, full, said = tmp_path / "new" / "folder", tmp_path / "full", tmp_path / "said"
    full.mkdir()
    (full / "file").touch()
    script = f"mount -t tmpfs inner {tmp_path}/full; ls {full} {folder} | wc -w > {said}; sleep 600"
    reaper = start(f"--cover={folder}", f"--cover={full}", script=script)

    assert wait_for(said) == 2  # the names of two folders, both empty
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    reaper.communicate(timeout=10)
    assert not folder.exists()
    assert (full / "file").exists()


def test_its_folder_and_cgroups_are_removed(tmp_path):
    tree = next(path for path in (CGROUPS / "pids", CGROUPS) if (path / "cgroup.procs").exists())
    name = f"lab-reaper-{os.getpid()}"
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (tree / name / "inner").mkdir(parents=True)
    pid = tmp_path / "pid"
    group = tree / name / "inner" / "cgroup.procs"
    script = f"echo $$ > {group}; echo $$ > {pid}; exec sleep 600"
    reaper = start(f"--cgroup={name}", f"--remove={folder}", script=script)
    inside = wait_for(pid)
    assert str(inside) in group.read_text().split()

    reaper.communicate(timeout=10)
    assert not exists(inside)
    assert not (tree / name).exists()
    assert not folder.exists()


def test_who_is_not_its_parent_is_no_owner():
    argv = [sys.executable, "-m", "labsupport.linux.reaper", "1", "--", "true"]
    assert subprocess.run(argv, check=False).returncode == 1
