"""A guest is a machine of its own over the host's files, and leaves nothing. About 15 s."""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from labsupport import errors
from labsupport.kernel import proc
from labsupport.vm import guest as vm_guest
from labsupport.vm import uml
from labsupport.vm.guest import LabVM
from tests import census
from tests.fixtures_vm import sh
from tests.toys import CHECKOUT
from tests.waiting import wait_until

REAPER = "labsupport.ownership.reaper"


def test_its_kernel_is_its_own_and_its_user_is_root(guest):
    assert guest.release == sh(guest, "uname -r") != os.uname().release
    assert sh(guest, "hostname; id -u; echo $LAB_IN_VM $LAB_PLACE").split() == [
        "lab", "0", "1", "vm",
    ]  # fmt: skip
    assert "labsupport.vm.inside.init" in sh(guest, "tr '\\0' ' ' < /proc/1/cmdline")


def test_it_is_told_which_kernel_its_own_runs_on(guest):
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    told = sh(guest, "echo $LAB_OUTER_KERNEL $LAB_OUTER_BOOT_ID").split()
    assert told == [os.uname().release, boot_id]


def test_what_it_writes_vanishes(guest, tmp_path):
    file = tmp_path / "written"
    file.write_text("by the host")
    assert sh(guest, f"echo by the guest > {file}; cat {file}") == "by the guest"
    sh(guest, f"touch {tmp_path}/new /etc/new /usr/new")
    assert file.read_text() == "by the host"
    assert not (tmp_path / "new").exists()
    assert not Path("/etc/new").exists()


def test_what_it_writes_to_a_shared_folder_stays(guest, shared):
    (shared / "from the host").write_text("hello")
    assert sh(guest, f"cat '{shared}/from the host'") == "hello"
    sh(guest, f"mkdir {shared}/folder; echo there > {shared}/folder/file")
    assert (shared / "folder" / "file").read_text() == "there\n"
    assert (shared / "folder" / "file").stat().st_uid == os.geteuid()


EVERYDAY = (
    "import os, pty, socket, tempfile; tempfile.TemporaryFile(dir='/dev/shm'); pty.openpty(); "
    "server = socket.create_server(('127.0.0.1', 0)); "
    "socket.create_connection(server.getsockname()); print(socket.gethostbyname('lab'))"
)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo ~; touch ~/file", "/root"),
        (f"{sys.executable} -c 'import labsupport; print(labsupport.__path__[0])'",
         str(CHECKOUT / "labsupport")),
        (f'{sys.executable} -c "{EVERYDAY}"', "127.0.0.1"),
        ("(sleep 0.05 & exec true); sleep 0.3; cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c1"
         " | grep -c Z || true", "0"),
    ],
    ids=["home", "host's files", "memory, terminal, loopback", "reaping"],
)  # fmt: skip
def test_it_is_a_whole_machine(guest, script, said):
    assert sh(guest, script) == said


def test_a_megabyte_passes_in_both_directions(guest):
    text = "0123456789abcdef" * (1 << 16)
    assert guest.run(["cat"], input=text).stdout == text


def test_what_a_background_process_holds_open_delays_nothing(guest):
    done = guest.run(["sh", "-c", "sleep 300 & echo done"], timeout=60)
    assert done.stdout == "done\n"


def test_a_program_that_takes_too_long_is_killed(guest):
    with pytest.raises(errors.TimedOut):
        guest.run(["sleep", "317"], timeout=0.3)
    wait_until(lambda: guest.run(["pgrep", "-f", "sleep 317"]).returncode == 1)


def test_closing_leaves_nothing(vm_kernel, marked, memory_folder):
    with LabVM.boot(marked.memory) as guest:
        assert len(marked.processes()) >= 2
    assert not marked.processes()
    guest.close()
    with pytest.raises(errors.LabError):
        guest.run(["true"])


def test_a_class_counts_once_what_a_guests_processes_share(guest):
    measure = runpy.run_path(str(CHECKOUT / "deploy/measure_class.py"))
    counted = measure["pss_of_tree"](guest._keeper.pid)
    assert 32 << 20 < counted < guest.memory_bytes


def test_a_hung_guest_is_ended(vm_kernel, marked):
    with LabVM.boot(marked.memory):
        for pid in marked.processes() - census.running(REAPER):
            os.kill(pid, signal.SIGSTOP)
    assert not marked.processes()


def test_a_guest_outlives_the_thread_that_booted_it_and_closed_leaves_nothing(
    vm_kernel, marked, memory_folder
):
    booted: list[LabVM] = []
    thread = threading.Thread(target=lambda: booted.append(LabVM.boot(marked.memory)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    with booted[0] as guest:
        assert guest.run(["true"]).returncode == 0
        assert len(marked.processes()) >= 2
    assert not marked.processes()
    guest.close()
    with pytest.raises(errors.LabError):
        guest.run(["true"])


def test_a_killed_guest_is_noticed_at_once(vm_kernel, marked):
    with LabVM.boot(marked.memory) as guest:
        first = min(marked.processes() - census.running(REAPER))
        threading.Timer(0.3, os.kill, (first, signal.SIGKILL)).start()
        with pytest.raises(errors.LabError, match="has died"):
            guest.run(["sleep", "600"], timeout=60)


def test_a_guest_that_died_unseen_is_said_to_have_died(vm_kernel):
    with LabVM.boot("256M") as guest:
        keeper = guest._keeper
        first = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()[0]
        os.kill(int(first), signal.SIGKILL)
        keeper.wait(60)
        with pytest.raises(errors.LabError, match="has died"):
            guest.run(["true"])


@pytest.mark.parametrize("folder", ["/", "/nonexistent", "/etc/hostname"])
def test_a_folder_that_cannot_be_shared_is_refused(folder):
    with pytest.raises(errors.LabError, match=folder):
        LabVM.boot("256M", share=[folder])


MIB = 1 << 20
PREPARE = (  # without `noinit_itable` the kernel begins to fill its tables some seconds later
    "mkfs.ext4 -q -F -O ^has_journal -E nodiscard,lazy_itable_init=1 $LAB_DISK && "
    "mount -o discard,noinit_itable $LAB_DISK /mnt"
)


def disk_files(marked):
    """The files as large as its disk that the guest's processes have open: one file, many times."""
    found = []
    for pid in marked.processes():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "(deleted)" in os.readlink(fd) and fd.stat().st_size >= vm_guest.LEAST_BYTES:
                    found.append(fd)
            except FileNotFoundError:
                continue
    return [fd for fd in found if fd.stat().st_size != marked.kilobytes << 10]


def test_it_takes_space_as_it_is_used_and_gives_it_back(vm_kernel, marked):
    with LabVM.boot(marked.memory) as guest:
        files = disk_files(marked)
        assert len({(fd.stat().st_dev, fd.stat().st_ino) for fd in files}) == 1

        def used():
            return files[0].stat().st_blocks * 512

        assert used() == 0
        sh(guest, PREPARE)
        empty = used()
        assert empty < 32 * MIB
        sh(guest, "dd if=/dev/urandom of=/mnt/file bs=1M count=40 2>/dev/null; sync")
        assert used() >= empty + 40 * MIB
        sh(guest, "rm /mnt/file; sync")
        wait_until(lambda: used() < empty + 8 * MIB, why=lambda: f"{used()} bytes are used")


def test_a_real_disk_is_taken_before_memory(monkeypatch):
    if vm_guest.file_system("/var/tmp") == "tmpfs" or vm_guest.file_system("/dev/shm") != "tmpfs":
        pytest.skip("needs /var/tmp on a disk and /dev/shm in memory")
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    file = vm_guest.open_disk()
    assert file is not None
    with open(file, "rb") as opened:
        assert os.fstat(opened.fileno()).st_dev == os.stat("/var/tmp").st_dev
        assert os.fstat(opened.fileno()).st_nlink == 0


@pytest.mark.parametrize(
    ("program", "most_seconds", "starts"),
    [("while :; do :; done", 60, True), ("while :; do :; done", 0, False), ("sleep 60", 60, False)],
)
def test_a_guest_is_waited_for_while_it_computes(monkeypatch, program, most_seconds, starts):
    """A shell that computes, or sleeps, stands in for its kernel, ready after some seconds."""
    monkeypatch.setattr(uml, "BOOT_SECONDS", 1.5)
    monkeypatch.setattr(uml, "MOST_BOOT_SECONDS", most_seconds)
    own, began = LabVM(128 << 20, []), time.monotonic()

    def turn(seconds):
        time.sleep(min(seconds, 0.1))
        own._ready = time.monotonic() > began + 4

    monkeypatch.setattr(own, "turn", turn)
    with subprocess.Popen(["sh", "-c", f"({program}) & wait"]) as keeper:
        own._keeper = keeper
        wait_until(lambda: len(proc.children(keeper.pid)) == 1)
        [kernel] = proc.children(keeper.pid)
        try:
            with nullcontext() if starts else pytest.raises(errors.LabError, match="not start"):
                own._await_ready()
        finally:
            for pid in (kernel, keeper.pid):
                os.kill(pid, signal.SIGKILL)
