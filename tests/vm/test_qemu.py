"""QEMU as backend: what User-Mode Linux lacks, asked of the guest's kernel (40 s, three boots)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport.errors import (
    GuestDied,
    GuestKernelMissing,
    LabError,
    QemuMissing,
    TooLittleMemory,
)
from labsupport.vm import initramfs, qemu
from labsupport.vm.guest import LabVM
from labsupport.vm.vmlinux import unpacked
from tests.vm.conftest import eventually

BUSY = "while True: pass"


def _missing() -> str:
    if os.environ.get("LAB_IN_VM") == "1":
        return "needs a machine that is no Lab VM itself"
    try:
        qemu.check(qemu.LEAST_MEMORY)
    except LabError as error:
        return str(error).replace("\n", " ")
    return ""


needs_qemu = pytest.mark.skipif(bool(_missing()), reason=_missing() or "all is there")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("with, comma and blank")


@pytest.fixture(scope="module")
def guest(shared):
    with LabVM.boot("512M", backend="qemu", share=[shared]) as guest:
        yield guest


@pytest.fixture
def sh(guest):
    """Run a shell script in the guest; return what it printed."""

    def sh(script: str) -> str:
        done = guest.run(["sh", "-ec", script], timeout=60)
        assert done.returncode == 0, done
        return done.stdout.strip()

    return sh


@needs_qemu
def test_it_is_another_machine_with_the_same_files(guest, sh):
    assert sh("uname -r") == guest.release == qemu.find_kernel()[1] != os.uname().release
    assert sh("hostname; id -u; stat -fc %T /").split() == ["lab", "0", "overlayfs"]
    assert sh(f"cat {__file__}") == Path(__file__).read_text().strip()


@needs_qemu
def test_writes_reach_the_host_in_shared_folders_only(shared, sh):
    (shared / "from the host").write_text("hello")
    path = Path("/var/tmp") / f"lab-{os.getpid()}"
    script = f"cd '{shared}'; cat 'from the host' > 'from the guest'; echo x > {path}; cat {path}"

    assert sh(script) == "x"
    assert (shared / "from the guest").read_text() == "hello"
    assert not path.exists()


@needs_qemu
def test_cgroup_v2_kills_what_takes_too_much_memory(guest, sh):
    sh("mkdir /sys/fs/cgroup/hog; cd /sys/fs/cgroup/hog; echo 16M > memory.max")
    hog = "echo $$ > /sys/fs/cgroup/hog/cgroup.procs; exec tail /dev/zero"  # it has no lines

    assert guest.run(["sh", "-c", hog]).returncode == -9
    assert "oom_kill 1" in sh("cat /sys/fs/cgroup/hog/memory.events").splitlines()


@needs_qemu
def test_cgroup_v2_refuses_one_process_too_many(sh):
    sh("mkdir /sys/fs/cgroup/few; echo 2 > /sys/fs/cgroup/few/pids.max")
    said = sh(
        "(echo 0 > /sys/fs/cgroup/few/cgroup.procs; sleep 0 & sleep 0 & sleep 0 & wait) 2>&1 ||:"
    )

    assert "fork" in said
    assert "max 0" not in sh("cat /sys/fs/cgroup/few/pids.events")


@needs_qemu
def test_pressure_is_told_of_a_group_that_waits_for_the_cpu(sh):
    script = f"""
mkdir /sys/fs/cgroup/slow; cd /sys/fs/cgroup/slow; echo '10000 100000' > cpu.max
cat cpu.pressure
(echo 0 > cgroup.procs; exec timeout 2 python3 -Sc '{BUSY}') || :
cat cpu.pressure; cat cpu.stat
"""
    said = sh(script)
    before, after = (int(line.split("total=")[1]) for line in said.splitlines() if "some" in line)
    throttled = int(said.split("throttled_usec")[1].split()[0])

    assert after - before > 500_000  # µs in two seconds at a tenth of a CPU
    assert throttled > 500_000


@needs_qemu
def test_a_time_namespace_has_another_clock(sh):
    here = float(sh("cut -d' ' -f1 /proc/uptime"))
    there = float(sh("unshare --time --fork --boottime 1000000 cut -d' ' -f1 /proc/uptime"))

    assert 1_000_000 <= there - here < 1_000_060
    assert sh("readlink /proc/self/ns/time") != sh(
        "unshare --time --fork readlink /proc/self/ns/time"
    )


@needs_qemu
def test_several_cpus_can_be_told_apart(monkeypatch):
    monkeypatch.setattr(qemu, "CPUS", 2)
    monkeypatch.setattr(qemu, "pinned", False)
    script = """
mkdir /sys/fs/cgroup/second; echo 1 > /sys/fs/cgroup/second/cpuset.cpus
nproc; echo $$ > /sys/fs/cgroup/second/cgroup.procs; grep Cpus_allowed_list /proc/self/status
"""
    with LabVM.boot("256M", backend="qemu") as guest:
        done = guest.run(["sh", "-ec", script])

    assert done.stdout.split() == ["2", "Cpus_allowed_list:", "1"], done.stderr


@needs_qemu
def test_nothing_is_left_of_a_guest_whose_owner_is_killed():
    program = (
        "import time\n"
        "from labsupport.vm.guest import LabVM\n"
        "guest = LabVM.boot('256M', backend='qemu')\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "up\n"
    processes = _descendants(owner.pid)
    assert any("qemu" in _command(pid) for pid in processes)

    owner.kill()
    owner.communicate()
    eventually(lambda: not any(map(_command, processes)), 5)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [
        descendant for child in children for descendant in _descendants(int(child))
    ]


def _command(pid: int) -> str:
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@needs_qemu
def test_a_kernel_that_is_none_is_reported(monkeypatch, tmp_path):
    kernel, release, _ = qemu.find_kernel()
    broken = tmp_path / f"vmlinuz-{release}"
    broken.write_bytes(kernel.read_bytes()[:4096])
    monkeypatch.setenv("LAB_QEMU_KERNEL", str(broken))

    began = time.monotonic()
    with pytest.raises(GuestDied):
        LabVM.boot("256M", backend="qemu")
    assert time.monotonic() - began < 10


@needs_qemu
def test_kvm_is_taken_only_if_a_kernel_boots(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    qemu._kvm_answer.cache_clear()
    began = time.monotonic()
    works = qemu.kvm_works()

    assert time.monotonic() - began < qemu.PROBE_SECONDS + 2
    if Path("/dev/kvm").exists() and os.access("/dev/kvm", os.R_OK | os.W_OK):
        (kept,) = (tmp_path / "labsupport" / "kvm").iterdir()
        assert kept.read_text() == ("works" if works else "does not boot a kernel")
    else:
        assert not works
    qemu._kvm_answer.cache_clear()


@needs_qemu
@pytest.mark.parametrize("behaviour", ["exec sleep 60", "exit 1", "echo booting"])
def test_a_kvm_that_hangs_or_aborts_is_refused(monkeypatch, tmp_path, behaviour):
    fake = tmp_path / "qemu-system-x86_64"
    fake.write_text(f"#!/bin/sh\n{behaviour}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(qemu, "PROBE_SECONDS", 0.5)

    assert not qemu._probe_boot()


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    with pytest.raises(TooLittleMemory, match="64 MB were asked for"):
        qemu.check(64 << 20)

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuMissing, match="apt-get install qemu-system-x86"):
        qemu.check(1 << 30)
    with pytest.raises(GuestKernelMissing, match="busybox-static"):
        initramfs._busybox()

    monkeypatch.setenv("LAB_QEMU_KERNEL", "/nowhere/vmlinuz-9.9")
    with pytest.raises(GuestKernelMissing, match=r"/nowhere/vmlinuz-9\.9 may not be read"):
        qemu.find_kernel()


def test_a_kernel_without_9p_is_passed_over(monkeypatch, tmp_path):
    """Debian's cloud kernel is such."""
    (tmp_path / "modules.dep").write_text("kernel/drivers/virtio/virtio_pci.ko:\n")
    (tmp_path / "modules.builtin").write_text("kernel/drivers/char/virtio_console.ko\n")
    assert not initramfs.can_share(tmp_path)

    (tmp_path / "modules.dep").write_text(
        "kernel/drivers/virtio/virtio_pci.ko.xz:\nkernel/fs/9p/9p.ko.xz:\n"
        "kernel/net/9p/9pnet_virtio.ko.xz:\n"
    )
    assert initramfs.can_share(tmp_path)


def test_an_unknown_image_is_booted_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = tmp_path / "vmlinuz-1"
    image.write_bytes(b"MZ" + bytes(100) + b"\x1f\x8b\x08\xfd7zXZ\0" + bytes(100))

    assert unpacked(image) == image
    assert not (tmp_path / "cache").exists()
