"""A machine as a cloud rents it, in QEMU: two boots, of 20 s of computing each where KVM is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from labsupport import probe
from labsupport.errors import (
    BadAmount,
    DiskMissing,
    MachineFailed,
    MachineNotStarted,
    QemuMissing,
    TooLittleMemory,
)
from labsupport.vm.machine import accelerator, disk, hypervisor, requirements, virtual
from labsupport.vm.machine.seen import look_around
from labsupport.vm.machine.ssh import Login, make_key
from labsupport.vm.machine.stages import Progress
from labsupport.vm.machine.virtual import VirtualMachine, running
from tests.vm.conftest import eventually

REFUSAL = probe().why_not("qemu")
needs_qemu = pytest.mark.skipif(REFUSAL is not None, reason=f"needs qemu: {REFUSAL}")


@pytest.fixture(scope="module")
def machine():
    with VirtualMachine.create("512M", "5G", name="tests") as machine:
        machine.start()
        machine.wait(600)
        yield machine


@pytest.fixture
def sh(machine):
    """Run a script in the machine; return what it printed."""

    def sh(script: str) -> str:
        done = machine.ssh(["sh", "-ec", script])
        assert done.returncode == 0, done
        return done.stdout.strip()

    return sh


@needs_qemu
def test_it_starts_in_stages_to_a_login(machine, sh):
    names = [stage.name for stage in machine.stages]
    assert names == ["firmware", "kernel", "first file system", "system"]
    assert all(stage.seconds > 0 for stage in machine.stages)
    assert "Welcome to Debian" in machine.console
    assert sh("whoami; sudo whoami").split() == ["student", "root"]


@needs_qemu
def test_it_is_another_machine(machine):
    here, there = look_around("here"), look_around("there", machine.ssh)

    assert there.boot_id != here.boot_id
    assert there.kernel == machine.base.release
    assert there.first == "systemd"
    assert there.cpus == 1
    assert 400 << 20 < there.memory_bytes <= 512 << 20
    assert there.disk_bytes > 4.5 * (1 << 30)  # the file system has grown with the disk


@needs_qemu
def test_a_key_that_it_does_not_know_is_refused(machine, tmp_path):
    make_key(tmp_path / "stranger")
    refused = machine.ssh(["whoami"], key=tmp_path / "stranger")

    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


@needs_qemu
def test_somebody_with_another_host_key_is_not_trusted(machine, tmp_path):
    make_key(tmp_path / "other")
    trusted = machine.login.known_hosts.read_text()
    public = (tmp_path / "other.pub").read_text().split()
    machine.login.trust(" ".join(public[:2]))
    warned = machine.ssh(["whoami"], anew=True)
    machine.login.known_hosts.write_text(trusted)

    assert warned.returncode == 255
    assert "IDENTIFICATION HAS CHANGED" in warned.stderr
    assert machine.ssh(["whoami"], anew=True).stdout == "student\n"


@needs_qemu
def test_it_reaches_nobody(sh):
    """Neither this machine's loopback (10.0.2.2 in there) nor a network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = sh(f"timeout 5 bash -c '</dev/tcp/10.0.2.2/{port}' 2>&1 || echo refused")
    assert said.endswith("refused")


@needs_qemu
def test_only_our_loopback_reaches_it(machine):
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = [line.split()[3] for line in listening.splitlines() if f"pid={machine.pid}," in line]
    assert ours
    assert all(address.startswith("127.0.0.1:") for address in ours)


@needs_qemu
def test_files_come_in_and_a_port_is_opened(machine, sh, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a page.txt").write_text("hello")
    assert machine.copy(tmp_path / "pages").returncode == 0
    assert sh("cat 'pages/a page.txt'") == "hello"

    # systemd listens and hands the connection to a shell: the machine itself has no web server
    units = {
        "web.socket": "[Socket]\nListenStream=8080\nAccept=yes",
        "web@.service": "[Service]\nStandardInput=socket\nStandardOutput=socket\n"
        "ExecStart=/bin/sh -c 'read line; echo HTTP/1.0 200 OK; echo; echo served'",
    }
    for name, text in units.items():
        sh(f"sudo tee /run/systemd/system/{name} <<'END'\n{text}\nEND")
    sh("sudo systemctl start web.socket")
    port = machine.open_port(8080)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        assert answer.read() == b"served\n"
    assert machine.open_port(8080) == port


@needs_qemu
def test_its_engine_has_the_apps_base(machine, sh):
    assert sh("sudo systemctl start docker; sudo systemctl is-active docker") == "active"
    assert machine.base.app_base in sh("docker image ls --format '{{.Repository}}:{{.Tag}}'")


@needs_qemu
def test_the_latest_machine_is_found_and_a_namesake_deleted(machine):
    first = VirtualMachine.create(name="namesake")
    second = VirtualMachine.create(name="namesake")
    assert not first.folder.exists()
    assert second.own_disk_bytes < 1_000_000
    assert running() == [machine]
    with pytest.raises(MachineNotStarted):
        second.ssh(["true"])
    second.delete()
    second.delete()
    assert not second.folder.exists()


@needs_qemu
def test_what_ends_at_once_is_told_with_qemus_words(monkeypatch):
    monkeypatch.setattr(hypervisor, "_drive", lambda *_: ["-drive", "file=/nowhere/disk"])
    with VirtualMachine.create(name="broken") as broken:
        broken.start()
        with pytest.raises(MachineFailed, match="/nowhere/disk"):
            broken.wait(60)


PROGRAM = """
import sys
from labsupport.vm.machine.virtual import VirtualMachine
vm = VirtualMachine.create(name="mine")
vm.start()
vm.wait(600)
print(vm.pid, vm.folder, vm.base.folder, vm.ssh(["whoami"]).stdout, flush=True)
sys.stdin.read()
"""


@needs_qemu
def test_nothing_is_left_of_an_ordinary_users_machine_whose_owner_is_killed(ordinary_user):
    seen = ordinary_user.run([sys.executable, "-c", "from labsupport import probe; "
                              "print(probe().why_not('qemu'))"], cwd="/")  # fmt: skip
    if seen.stdout.strip() != "None":
        pytest.skip(f"needs qemu for an ordinary user: {seen.stdout or seen.stderr}")
    argv = [sys.executable, "-c", PROGRAM]
    argv = argv if ordinary_user.is_me else ordinary_user.command(argv)
    owner = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    pid, folder, base, name = owner.stdout.readline().split()
    assert name == "student"
    before = (Path(base) / disk.IMAGE).stat().st_mtime_ns
    assert Path(folder, "key").exists()
    assert Path(f"/proc/{pid}").stat().st_uid == ordinary_user.uid

    for child, command in ordinary_user.processes():
        if "VirtualMachine.create" in command:
            os.kill(child, 9)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), 10)
    eventually(lambda: not Path(folder).exists(), 10)
    assert (Path(base) / disk.IMAGE).stat().st_mtime_ns == before
    owner.stdin.close()
    owner.wait(10)


def test_stages_are_read_from_pieces_of_text():
    progress = Progress()
    for at, data in enumerate(("SeaBIOS\r\n\x1b[2J[ 0.0] Linux ver", "sion 6.1\nRun /init as init ",
                               "process\n[ ***  ] Job x running (3s / 1min)\n",
                               "\x1b[1mWelcome to \x1b[1;34mDebian\x1b[0m!\n")):  # fmt: skip
        progress.hear(data, at)
    progress.hear("-----BEGIN SSH HOST KEY-----\nssh-ed25519 AAAA \n", 5)
    progress.ready(6)

    assert [(s.name, s.began_seconds, s.ended_seconds) for s in progress.stages(9)] == [
        ("firmware", 0, 1),
        ("kernel", 1, 2),
        ("first file system", 2, 3),
        ("system", 3, 6),
    ]
    assert progress.host_key == "ssh-ed25519 AAAA"
    assert "Welcome to Debian!" in progress.text
    assert "Job x" not in progress.text


def test_a_login_touches_nothing_of_the_users():
    login = Login(2222, Path("/a b/key"), Path("/a b/known_hosts"))
    for command in (login.command("true"), login.copy_command(Path("x"), ".")):
        assert command[command.index("-F") + 1] == "none"
        assert '-oUserKnownHostsFile="/a b/known_hosts"' in command
        assert "-oStrictHostKeyChecking=yes" in command
        assert "-oIdentityAgent=none" in command


def test_a_kvm_that_boots_nothing_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accelerator.os.path, "exists", lambda _path: True)
    monkeypatch.setattr(accelerator.os, "access", lambda _path, _mode: True)
    asked = []
    monkeypatch.setattr(accelerator, "boots", lambda _disk: asked.append(1) or False)
    base = disk.BaseDisk(tmp_path, "6.1", "", "", 0)

    assert accelerator.choose(base).name == accelerator.choose(base).name == "tcg"
    assert asked == [1]  # the answer is kept


@pytest.mark.parametrize("behaviour", ["exec sleep 60", "exit 1", "echo booting; exec sleep 60"])
def test_a_qemu_that_hangs_or_aborts_under_kvm_boots_nothing(monkeypatch, tmp_path, behaviour):
    fake = tmp_path / "qemu"
    fake.write_text(f"#!/bin/sh\n{behaviour}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(accelerator, "PROGRAM", str(fake))
    assert not accelerator.boots(disk.BaseDisk(tmp_path, "6.1", "", "", 0), seconds=0.5)


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("LAB_IN_VM", raising=False)
    monkeypatch.setattr(disk, "SYSTEM_DISKS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DiskMissing, match=r"\./lab vm-disk"):
        disk.find_disk()

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuMissing, match="qemu-system-x86 qemu-utils openssh-client"):
        requirements.check()
    with pytest.raises(QemuMissing, match="qemu-utils"):
        disk.make_overlay(tmp_path / "base", tmp_path / "overlay", 1 << 30)
    with pytest.raises(QemuMissing, match="apt-get install"):
        VirtualMachine.create()


def test_there_is_no_machine_in_the_lab_vm(monkeypatch):
    monkeypatch.setenv("LAB_IN_VM", "1")
    with pytest.raises(Exception, match="no VM in the VM"):
        requirements.check()


@pytest.mark.parametrize(("memory", "size"), [("lots", "4G"), ("64M", "4G"), ("1G", "1G")])
def test_impossible_amounts_are_refused(monkeypatch, memory, size):
    monkeypatch.setattr(hypervisor, "program", lambda: "qemu")
    with pytest.raises(BadAmount):
        VirtualMachine.create(memory, size)


def test_more_memory_than_there_is_is_refused():
    with pytest.raises(TooLittleMemory, match="MB are available"):
        virtual.resources.require_memory(1 << 50)
