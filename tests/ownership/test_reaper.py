"""The reaper ends all that a program has started, however far it has run (1 s)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport import processes
from labsupport.ownership.reaper import CGROUPS
from tests.toys import CHECKOUT, stand_in
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes a mount namespace")

# sh starts a program that leaves its session and loses its parent, as daemons do
LEAN = CHECKOUT / "labsupport/ownership/lean.py"
REAPER = [sys.executable, "-I", "-S", str(LEAN), "labsupport.ownership.reaper"]
RUNAWAY = "(setsid sh -c 'echo $$ > {pid}; exec sleep 600' &) ; {rest}"


def start(*options, script):
    argv = [*REAPER, str(os.getpid()), *options]
    return subprocess.Popen([*argv, "--", "sh", "-c", script], stdin=subprocess.PIPE)


def wait_for(file):
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


def exists(pid):
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

    reaper.communicate(timeout=60)
    assert not exists(runaway)


def test_a_daemon_ends_with_the_program_that_started_it(tmp_path):
    pid = tmp_path / "pid"
    reaper = start(script=RUNAWAY.format(pid=pid, rest=f"until [ -s {pid} ]; do :; done; exit 3"))

    assert reaper.wait(60) == 3
    assert not exists(wait_for(pid))


def test_its_mounts_and_covers_are_nobody_elses_and_vanish(tmp_path):
    folder, full, said = tmp_path / "new" / "folder", tmp_path / "full", tmp_path / "said"
    full.mkdir()
    (full / "file").touch()
    script = f"mount -t tmpfs inner {tmp_path}/full; ls {full} {folder} | wc -w > {said}; sleep 600"
    reaper = start(f"--cover={folder}", f"--cover={full}", script=script)

    assert wait_for(said) == 2  # the names of two folders, both empty
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    reaper.communicate(timeout=60)
    assert not folder.exists()
    assert (full / "file").exists()


def test_its_folder_and_cgroups_are_removed(tmp_path):
    top = Path(CGROUPS)
    tree = next(path for path in (top / "pids", top) if (path / "cgroup.procs").exists())
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

    reaper.communicate(timeout=60)
    assert not exists(inside)
    assert not (tree / name).exists()
    assert not folder.exists()


def test_who_is_not_its_parent_is_no_owner(tmp_path):
    """Nothing is started then, but what it was to remove is removed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    argv = [*REAPER, "1", f"--remove={folder}", "--", "touch", str(tmp_path / "started")]
    assert subprocess.run(argv, check=False).returncode == 1
    assert os.listdir(tmp_path) == []


def test_without_a_command_it_waits_and_removes(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    argv = [*REAPER, str(os.getpid()), f"--remove={folder}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as reaper:
        time.sleep(0.3)
        assert folder.exists()
        assert reaper.poll() is None
    assert not folder.exists()


def test_each_step_is_done_even_if_another_one_fails(tmp_path):
    """A covered folder that is not empty is not removed, but the rest is."""
    folder, pid = tmp_path / "folder", tmp_path / "pid"
    folder.mkdir()
    options = [f"--remove={folder}", f"--cover={tmp_path / 'covered'}"]
    reaper = start(*options, script=RUNAWAY.format(pid=pid, rest="sleep 600"))
    runaway = wait_for(pid)
    (tmp_path / "covered" / "file").touch()
    reaper.communicate(timeout=60)
    assert reaper.returncode
    assert not exists(runaway)
    assert not folder.exists()


@pytest.mark.parametrize("told", [b"", b"!"])
def test_a_guest_has_a_moment_to_power_itself_off_unless_it_is_in_a_hurry(tmp_path, told):
    pid, off = tmp_path / "pid", tmp_path / "off"
    script = f"echo $$ > {pid}; setsid sleep 600 & sleep 0.5; touch {off}; exit 3"
    reaper = start("--guest", script=script)
    wait_for(pid)
    reaper.communicate(told, timeout=60)
    assert off.exists() == (not told)
    assert reaper.returncode == (0 if told else 3)


def test_a_name_cut_within_a_character_is_read(tmp_path):
    """The kernel keeps 15 bytes of a name; a search for children reads everybody's name."""
    script, pid = stand_in(tmp_path / "uebung-blatt-3\u00fc.sh", "sleep 60"), tmp_path / "pid"
    reaper = start(script=RUNAWAY.format(pid=pid, rest="sleep 600"))
    runaway = wait_for(pid)
    with subprocess.Popen([script], process_group=0) as odd:
        while not Path(f"/proc/{odd.pid}/comm").read_bytes().startswith(b"uebung"):
            time.sleep(0.001)
        assert "uebung-blatt-3\\xc3" in [each.name for each in processes()]
        reaper.communicate(timeout=60)
        os.killpg(odd.pid, signal.SIGKILL)
    assert reaper.returncode == 0
    assert not exists(runaway)


JOINED = """
import subprocess
from labsupport.kernel import proc, syscalls
from labsupport.ownership import reaper
def of(parent): return [pid for pid in proc.pids() if proc._parent(pid) == str(parent)]
syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
made = subprocess.Popen(["unshare", "--pid", "--fork", "sleep", "4719"])
while not (first := of(made.pid)):
    pass
joined = subprocess.Popen(["nsenter", f"--target={first[0]}", "--pid", "sleep", "4719"])
while not of(joined.pid):
    pass
reaper.end_descendants()
print("ended")
"""


def test_a_container_that_was_joined_ends():
    """Its PID 1 waits for the one that joined, which only the reaper can reap."""
    done = subprocess.run(
        [sys.executable, "-c", JOINED], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "ended\n", done.stderr


def test_a_folder_in_which_something_is_mounted_stays(tmp_path):
    folder = tmp_path / "folder"
    (folder / "mnt").mkdir(parents=True)
    (folder / "mnt/thesis").touch()
    program = f"from labsupport.ownership import reaper; reaper.remove_folder({str(folder)!r})"
    script = 'mount --bind "$0/mnt" "$0/mnt"; exec "$@"'
    argv = ["unshare", "-m", "sh", "-ec", script, folder, sys.executable, "-c", program]
    subprocess.run(argv, check=True)
    assert (folder / "mnt/thesis").exists()
