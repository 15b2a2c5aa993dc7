"""A machine as a cloud rents it, in QEMU: a boot is 20 s of computing without KVM.

The tests of a machine that runs are for `--all`, or where this room or its disk has changed.
"""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labsupport import probe
from labsupport.doctor import qemu
from labsupport.errors import LabError
from labsupport.machine import boot_console, hypervisor
from labsupport.machine.boot_console import BootConsole
from labsupport.machine.compared import look_around
from labsupport.machine.virtual import Progress, Stage, VirtualMachine, make_key, running
from tests.notebooks import skip_or_fail
from tests.waiting import wait_until

needs_qemu = pytest.mark.needs("qemu")
BOOTED = pytest.param("booted", marks=pytest.mark.thorough("making"))


@pytest.fixture(scope="module", params=[BOOTED])
def machine():
    if lacking := probe().missing("qemu"):
        skip_or_fail(lacking)
    with VirtualMachine.create("512M", "5G", name="tests") as machine:
        machine.start()
        machine.wait(600)
        yield machine


@pytest.fixture
def sh(machine):
    """Run a script in the machine; return what it printed."""

    def sh(script):
        done = machine.run(["sh", "-ec", script])
        assert done.returncode == 0, done
        return done.stdout.strip()

    return sh


def test_it_is_as_large_as_was_asked_for(machine):
    there = look_around("there", machine.run)
    assert there.cpus == 1
    assert 400 << 20 < there.memory_bytes <= 512 << 20
    assert there.disk_bytes > 4.5 * (1 << 30)  # the file system has grown with the disk


def test_a_key_that_it_does_not_know_is_refused(machine, tmp_path):
    make_key(tmp_path / "stranger")
    argv = ["ssh", "-F", machine.config, "-i", tmp_path / "stranger", "tests", "whoami"]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_somebody_with_another_host_key_is_not_trusted(machine, tmp_path):
    make_key(tmp_path / "other")
    machine.trust(" ".join((tmp_path / "other.pub").read_text().split()[:2]))
    warned = machine.run(["whoami"])
    machine.trust(machine.host_key)

    assert warned.returncode == 255
    assert "IDENTIFICATION HAS CHANGED" in warned.stderr
    assert machine.run(["whoami"]).stdout == "student\n"


def test_a_login_touches_nothing_of_the_users(machine, monkeypatch, tmp_path):
    """Whatever is in the home folder and the agent: ssh itself says what it goes by."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    said = subprocess.run([*machine.login, "-G"], capture_output=True, text=True, check=True).stdout
    settings = dict(line.split(" ", 1) for line in said.splitlines())

    assert settings["userknownhostsfile"] == f"{machine.folder}/known_hosts"
    assert (settings["identityfile"], settings["identityagent"]) == (str(machine.key), "none")
    assert (settings["stricthostkeychecking"], settings["updatehostkeys"]) == ("true", "false")


def test_a_reader_of_the_known_hosts_never_finds_them_half_written(machine):
    known = machine.folder / "known_hosts"
    with known.open() as file:
        machine.trust(machine.host_key)
        assert file.read() == known.read_text()
        assert os.fstat(file.fileno()).st_ino != known.stat().st_ino


def test_it_reaches_nobody(sh):
    """It reaches neither this machine's loopback (10.0.2.2 in there) nor a network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = sh(f"timeout 5 bash -c '</dev/tcp/10.0.2.2/{port}' 2>&1 || echo refused")
    assert said.endswith("refused")


def test_only_our_loopback_reaches_it(machine):
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = [line.split()[3] for line in listening.splitlines() if f"pid={machine.pid}," in line]
    assert ours
    assert all(address.startswith("127.0.0.1:") for address in ours)


def test_the_latest_machine_is_found_and_a_namesake_deleted(machine):
    first = VirtualMachine.create(name="namesake")
    second = VirtualMachine.create(name="namesake")
    assert not first.folder.exists()
    assert second.own_disk_bytes < 1_000_000
    assert running() == [machine]
    with pytest.raises(LabError):
        second.run(["true"])
    second.close()
    second.close()
    assert not second.folder.exists()


@needs_qemu
def test_what_ends_at_once_is_told_with_qemus_words(monkeypatch):
    monkeypatch.setattr(hypervisor, "_value", lambda _path: "/nowhere/disk")
    with VirtualMachine.create(name="broken") as broken:
        broken.start()
        with pytest.raises(LabError, match="/nowhere/disk"):
            broken.wait(60)


PROGRAM = """
import sys
from labsupport.machine.virtual import VirtualMachine
vm = VirtualMachine.create(name="mine")
vm.start()
vm.wait(600)
print(vm.pid, vm.folder, vm.base.folder, vm.run(["whoami"]).stdout, flush=True)
sys.stdin.read()
"""


@needs_qemu
@pytest.mark.thorough
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
    before = (Path(base) / qemu.IMAGE).stat().st_mtime_ns
    assert Path(folder, "key").exists()
    assert Path(f"/proc/{pid}").stat().st_uid == ordinary_user.uid

    for child, command in ordinary_user.processes():
        if "VirtualMachine.create" in command:
            os.kill(child, 9)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    wait_until(lambda: not Path(folder).exists())
    assert (Path(base) / qemu.IMAGE).stat().st_mtime_ns == before
    owner.stdin.close()
    owner.wait(60)


KEY = f"ssh-ed25519 {'AAAA' * 17}"
HOST_KEY = f"-----BEGIN SSH HOST KEY-----\r\n{KEY} root@lab\r\n-----END SSH HOST KEY-----\r\n"
STARTED = "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD “ssh”.\r\n"


def test_a_restart_begins_with_the_shutdown():
    progress = Progress("shutdown")
    progress.hear(b"Stopping\r\nSeaBIOS\r\n", 7)
    assert [s.seconds for s in progress.stages(9)] == [7, 2]
    assert [s.name for s in progress.stages(9)] == ["shutdown", "firmware"]


def test_who_is_known_may_not_be_there_yet():
    progress = Progress()
    progress.hear(HOST_KEY.encode(), 1)
    assert progress.host_key == KEY
    assert not progress.is_ready


@pytest.mark.parametrize(
    "cut", ["ssh-ed25519 AAAA[ 5.2] random: crng init done", KEY[:-1], KEY + "A"]
)
def test_a_key_that_was_broken_by_another_message_is_none(cut):
    progress = Progress()
    progress.hear(HOST_KEY.replace(KEY, cut).encode(), 1)
    assert progress.host_key == ""


CONSOLE = (
    "\x1b[2JSeaBIOS\r\n[    0.0] Linux version 6.1\r\nRun /init as init process\r\n"
    "[ ***  ] Job x running (3s / 1min)\r\n"
    f"Welcome to \x1b[1;34mDebian\x1b[0m!\r\n{STARTED}{HOST_KEY}"
).encode()
HEARD = f"""SeaBIOS
[    0.0] Linux version 6.1
Run /init as init process
Welcome to Debian!
[  OK  ] Started ssh.service - OpenBSD “ssh”.
-----BEGIN SSH HOST KEY-----
{KEY} root@lab
-----END SSH HOST KEY-----
"""


def test_a_console_says_the_same_wherever_it_is_cut():
    for size in range(1, len(CONSOLE)):
        progress = Progress()
        for at in range(0, len(CONSOLE), size):
            progress.hear(CONSOLE[at : at + size], at)
            assert progress.host_key in ("", KEY)
            assert progress.is_ready == bool(progress.host_key)  # who it is comes last
        assert (progress.text, progress.host_key) == (HEARD, KEY)
        stages = [stage.name for stage in progress.stages(len(CONSOLE))]
        assert stages == ["firmware", "kernel", "first file system", "system"]


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("LAB_IN_VM", raising=False)
    monkeypatch.setattr(qemu, "SYSTEM_DISKS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(LabError, match=r"\./lab vm-disk"):
        qemu.find_disk()

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="qemu-system-x86 qemu-utils openssh-client"):
        qemu.check()
    with pytest.raises(LabError, match="qemu-utils"):
        qemu.make_overlay(tmp_path / "base", tmp_path / "overlay", 1 << 30)
    with pytest.raises(LabError, match="apt-get install"):
        VirtualMachine.create()


WRONG = {"memory": ["lots", "64M", "999G"], "disk": ["1G", "999G"]}


@pytest.mark.parametrize(
    ("what", "value"), [(what, value) for what, values in WRONG.items() for value in values]
)
def test_an_impossible_machine_is_refused(monkeypatch, what, value):
    monkeypatch.setattr(qemu, "check", lambda: "QEMU")
    with pytest.raises(LabError, match=f"cannot have {value!r}"):
        VirtualMachine.create(**{what: value})


READY = f"Started ssh.service\nssh-ed25519 {'A' * 68}\n".encode()


class Starting:
    """A machine that is ready when it has been looked at three times."""

    console = "<Welcome>\n" * 2000

    def __init__(self):
        self.looks = 0
        self.progress = Progress()

    @property
    def stages(self):
        return [Stage("firmware", 0, self.looks / 10)]

    def look(self):
        self.looks += 1
        if self.looks == 3:
            self.progress.hear(READY, 1)
        return self.looks == 3


def test_watching_ends_when_the_machine_is_ready():
    machine = Starting()
    console = BootConsole(machine)
    asyncio.run(console.run(seconds=30))

    assert machine.looks == 3
    assert console.picture.alt == boot_console.words(machine.stages)
    assert console.console.value.count("&lt;Welcome&gt;") == boot_console.LINES
    assert console.picture.status.startswith("Ready for SSH")
    assert not console.picture.running
