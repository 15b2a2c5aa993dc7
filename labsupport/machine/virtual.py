"""A virtual machine from its creation to its deletion: start it, log in, open ports."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.doctor import qemu
from labsupport.errors import LabError, TimedOut
from labsupport.kernel import netlink, proc
from labsupport.kernel.procfs import tries
from labsupport.machine import hypervisor
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.trace import Completed

# What a machine takes of this one: amounts as people write them, memory, space, a port.

LEAST_MEMORY, LEAST_DISK, MOST_DISK = 384 << 20, 4 << 30, 64 << 30
LEAST_SPACE = 1 << 30
_UNITS = {"M": 1 << 20, "G": 1 << 30}


def amount(text: str, least: int, most: int) -> int:
    """Return `"512M"` or `"4G"` in bytes. Raises `LabError`."""
    match = re.fullmatch(r"(\d+)([MG])", text.strip().upper())
    found = int(match[1]) * _UNITS[match[2]] if match else 0
    if not least <= found <= most:
        remedy = f"write it as “512M” or “4G”, from {least >> 20}M to {most >> 20}M"
        raise LabError(f"a machine cannot have {text!r} of it", "", remedy)
    return found


# Logging in: with a new key and known hosts of our own; the user's are never touched.

CONFIG = """\
Host {name}
    HostName 127.0.0.1
    Port {port}
    User student
    UserKnownHostsFile "{folder}/known_hosts"
    StrictHostKeyChecking yes
    GlobalKnownHostsFile /dev/null
    UpdateHostKeys no
    IdentitiesOnly yes
    IdentityAgent none
    BatchMode yes
    ConnectTimeout 30
"""


def make_key(path: Path) -> str:
    """Make a key pair (Ed25519, no passphrase) at `path` and `path.pub`; return the public half."""
    qemu.run_tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)])
    return path.with_name(path.name + ".pub").read_text().split()[1]


BOOT_SECONDS = 600.0  # simulated, on a machine that is busy with others
_TICK_SECONDS = 0.1
_machines: dict[str, VirtualMachine] = {}


def running() -> list[VirtualMachine]:
    """Return this notebook's machines that run, the latest first."""
    return [each for each in reversed(_machines.values()) if each.is_running]


class VirtualMachine(Closing):
    """A machine of its own: `create`, `start`, `wait`, `run`, `open_port`, `restart`, `close`.

    All of it is in `folder`: the disk (what differs from the base), the key, the console's text. It
    ends with this Python, however that ends, and the folder with it.
    """

    @classmethod
    def create(
        cls, memory: str = "1G", disk: str = "4G", cpus: int = 1, *, name: str = "lab-vm"
    ) -> VirtualMachine:
        """Create a machine, switched off. One of the same name is deleted first.

        Its disk begins as what `./lab vm-disk` has made. Raises `LabError`.
        """
        qemu.check()
        memory_bytes = amount(memory, LEAST_MEMORY, proc.available_memory())
        disk_bytes = amount(disk, LEAST_DISK, MOST_DISK)
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free >> 20
        if free < LEAST_SPACE >> 20:
            why = f"{free} MB are free in {folder}, and it may grow to {LEAST_SPACE >> 20} MB"
            remedy = "name a folder with space: TMPDIR=FOLDER ./lab"
            raise LabError("a machine's disk needs space", why, remedy)
        machine = cls(name, hypervisor.Hardware(memory_bytes, disk_bytes, cpus))
        if name in _machines:
            _machines[name].close()
        _machines[name] = machine
        machine._furnish()
        return machine

    def __init__(self, name: str, hardware: hypervisor.Hardware) -> None:
        self.name, self.hardware, self.base = name, hardware, qemu.find_disk()
        self.accelerator = hypervisor.choose()
        self.progress = Progress()
        self.open_ports: dict[int, int] = {}
        """The machine's ports that can be reached, each with its port on our loopback."""
        self.memory_at_login = 0
        """How many bytes QEMU had in use when the machine was ready; proc_pid_status(5)."""
        self._keeper: subprocess.Popen[bytes] | None = None

    def _furnish(self) -> None:
        """Make the folder, with a disk of its own and a key, and who removes it."""
        self.folder = Path(tempfile.mkdtemp(prefix=marks.prefix("machine")))
        self.config, self.key = self.folder / "config", self.folder / "key"
        argv = marks.reaping(f"--remove={self.folder}")
        self._housekeeper = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
        image = self.base.folder / qemu.IMAGE
        qemu.make_overlay(image, self.folder / "disk.qcow2", self.hardware.disk_bytes)
        self._public_key = make_key(self.key)

    def start(self) -> None:
        """Switch it on; it is ready later, see `wait`. Raises `LabError`."""
        if self.is_running:
            return
        self._hang_up()
        self.port = netlink.free_port()
        settings = CONFIG.format(name=self.name, port=self.port, folder=self.folder)
        self.config.write_text(settings)
        (self.folder / "console").write_bytes(b"")
        self._console = (self.folder / "console").open("rb")
        self._errors = (self.folder / "errors").open("w+b")
        ours, theirs = socket.socketpair()
        self._to_keeper, keepers = socket.socketpair()
        with theirs, keepers:
            argv = hypervisor.command(
                self.hardware, self.base, self.folder, accelerator=self.accelerator,
                key=self._public_key, port=self.port, monitor=theirs.fileno(),
            )  # fmt: skip
            self._keeper = subprocess.Popen(
                [*marks.reaping("--guest"), "--", *argv], stdin=keepers.fileno(),
                stdout=self._errors, stderr=self._errors, env=marks.environment(),
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self._monitor = hypervisor.Monitor(ours)
        self.open_ports = {}
        self._begin(Progress())

    def restart(self) -> None:
        """Have it start once more, as by `sudo reboot`; it is ready later, see `wait`."""
        self.run(["sudo", "systemctl", "reboot"])
        self._begin(Progress("shutdown"))

    def _begin(self, progress: Progress) -> None:
        self.progress, self._started_at = progress, time.monotonic()

    @property
    def is_running(self) -> bool:
        """Whether QEMU runs."""
        return self._keeper is not None and self._keeper.poll() is None

    def look(self) -> bool:
        """Take in what the console has said since; tell whether the machine accepts logins.

        Raises `LabError` if the machine has ended.
        """
        if self._keeper is None:
            raise LabError(f"{self.name} is switched off", "", "vm.start()")
        was_ready = self.progress.is_ready
        self.progress.hear(self._console.read(), time.monotonic() - self._started_at)
        if not self.is_running:
            raise LabError(f"{self.name} has ended", self._last_words())
        if self.progress.is_ready and not was_ready:
            self.trust(self.progress.host_key)
            self.memory_at_login = int(proc.status(self.pid)["VmRSS"].split()[0]) << 10
        return self.progress.is_ready

    def wait(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until the machine accepts logins. Raises `TimedOut`, `LabError`."""
        for _ in tries(seconds, _TICK_SECONDS):
            if self.look():
                return
        raise TimedOut(f"{self.name} is not ready after {seconds:g} s", self._last_words())

    @property
    def console(self) -> str:
        """What the machine has said on its console since its start."""
        return self.progress.text

    @property
    def stages(self) -> list[Stage]:
        """Return the stages of its start so far."""
        return self.progress.stages(time.monotonic() - self._started_at)

    @property
    def host_key(self) -> str:
        """The key by which the machine proves who it is, as its console told it last."""
        self.look()
        return self.progress.host_key

    def trust(self, host_key: str) -> None:
        """Write down which host key is the machine's, so that nobody else is taken for it."""
        fresh = self.folder / "known_hosts.new"  # ssh must never read half of it
        fresh.write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        fresh.replace(self.folder / "known_hosts")

    @property
    def login(self) -> list[str]:
        """The ssh command that logs in, once the machine is ready; words behind it are run there.

        Each login is a connection of its own, in which both sides prove who they are.
        """
        if not self.is_running:
            raise LabError(f"{self.name} is switched off", "", "vm.start()")
        self.wait()
        return ["ssh", "-F", str(self.config), "-i", str(self.key), self.name]

    def run(
        self, argv: Sequence[str], *, stdin: Path = Path(os.devnull), timeout: float = 300
    ) -> Completed:
        """Log in and run a program; status 255 is ssh's own. Raises `TimedOut`.

        The result names the ssh command, which does the same in a terminal.
        """
        command, began = [*self.login, shlex.join(argv)], time.monotonic()
        try:
            with stdin.open("rb") as file:
                done = subprocess.run(
                    command, stdin=file, capture_output=True, timeout=timeout, check=False
                )
        except subprocess.TimeoutExpired as error:
            raise TimedOut(f"{argv[0]} in {self.name}", f"not done after {timeout:g} s") from error
        out, err = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
        return Completed(tuple(command), out, err, done.returncode, time.monotonic() - began)

    def open_port(self, port: int) -> int:
        """Let this machine's loopback reach a port of it; return the port here.

        A cloud's firewall does this for the whole world, or for the addresses that one names.
        """
        if port not in self.open_ports:
            here = netlink.free_port()
            self._say(f"hostfwd_add net tcp:127.0.0.1:{here}-:{port}")
            self.open_ports[port] = here
        return self.open_ports[port]

    def close_port(self, port: int) -> None:
        """Let nobody reach the port any more; may be called twice."""
        if here := self.open_ports.pop(port, None):
            self._say(f"hostfwd_remove net tcp:127.0.0.1:{here}")

    def _say(self, line: str) -> None:
        answer = self._monitor.human(line).strip()
        if answer and "removed" not in answer:
            raise LabError(f"QEMU did not do `{line}`", answer)

    @property
    def pid(self) -> int:
        """The process that is the machine: QEMU."""
        if self._keeper is None or not self.is_running:
            raise LabError(f"{self.name} is switched off", "", "vm.start()")
        return proc.children(self._keeper.pid)[0]

    @property
    def own_disk_bytes(self) -> int:
        """What its disk takes on ours, without the base: what has been written."""
        return (self.folder / "disk.qcow2").stat().st_blocks * 512

    def close(self) -> None:
        """Switch it off, as if unplugged, and remove its disk and key; may be called twice."""
        self._hang_up()
        if self._housekeeper.stdin:
            self._housekeeper.stdin.close()
        self._housekeeper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        if _machines.get(self.name) is self:
            del _machines[self.name]

    def _hang_up(self) -> None:
        """End QEMU if it runs, and close what led to it."""
        if self._keeper is None:
            return
        keeper, self._keeper = self._keeper, None
        with contextlib.suppress(BrokenPipeError):
            self._to_keeper.send(b"!")
        keeper.wait()
        self._monitor.close()
        for each in (self._to_keeper, self._console, self._errors):
            each.close()

    def __repr__(self) -> str:
        hardware = self.hardware
        state = "running" if self.is_running else "switched off"
        return (
            f"{self.name}: {hardware.memory_bytes >> 20} MiB of memory, {hardware.cpus} CPU, "
            f"{hardware.disk_bytes >> 30} GiB of disk; {self.accelerator.words}; {state}"
        )

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip() or self.console.strip()[-300:]


# --- how far a machine has got, read from its console ---------------------------------------------

WHAT = {
    "shutdown": "systemd ends what runs, and has the machine reset",
    "firmware": "QEMU starts, SeaBIOS looks around, the kernel is loaded",
    "kernel": "Linux finds processors, memory and devices",
    "first file system": "drivers for the disk; the disk is mounted",
    "system": "systemd is PID 1 and starts services",
    "ready for SSH": "the SSH server listens",
}
"""What begins, in order; the last one is a moment."""
# what the console says when a stage begins
_BEGINS = {
    "firmware": re.compile(r"SeaBIOS"),
    "kernel": re.compile(r"Linux version \d"),
    "first file system": re.compile(r"Run /init as init process"),
    "system": re.compile(r"Welcome to .+!"),
    "ready for SSH": re.compile(r"Started .*ssh\.service"),
}
_HOST_KEY = re.compile(r"^(ssh-ed25519 [A-Za-z0-9+/]{68})(?: .*)?$", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[cM]|\x1b[()][0-9A-B]|\r")
_WAITING = re.compile(r"^\[[ *]+\] .*\n", re.MULTILINE)  # systemd's moving stars


@dataclass(frozen=True)
class Stage:
    """A stretch of a start, in seconds since the machine was switched on."""

    name: str
    began_seconds: float
    ended_seconds: float

    @property
    def seconds(self) -> float:
        return self.ended_seconds - self.began_seconds


class Progress:
    """Follows one start: `hear(data, seconds)` is told what the console said, and when.

    What it says comes in pieces, which may end within a key, a colour or a letter: only lines that
    have ended are looked at.
    """

    def __init__(self, first: str = "firmware") -> None:
        self.began: dict[str, float] = {first: 0.0}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._rest = ""

    @property
    def text(self) -> str:
        """All that the console said, without colours and moving stars."""
        return _WAITING.sub("", self._text + _COLOURS.sub("", self._rest))

    @property
    def host_key(self) -> str:
        """The last whole key that the console told; empty before."""
        found: list[str] = _HOST_KEY.findall(self._text)
        return found[-1] if found else ""

    def hear(self, data: bytes, seconds: float) -> None:
        """Take more of the console in."""
        lines, end, self._rest = (self._rest + self._decoder.decode(data)).rpartition("\n")
        self._text += _COLOURS.sub("", lines + end)
        for name, sign in _BEGINS.items():
            if name not in self.began and sign.search(self._text):
                self.began[name] = seconds

    @property
    def is_ready(self) -> bool:
        """Whether the machine accepts logins, and has said by which key it is known."""
        return "ready for SSH" in self.began and bool(self.host_key)

    def stages(self, now: float) -> list[Stage]:
        """Return the stages that have begun; the last one lasts until now or until SSH is ready."""
        begun = [(name, self.began[name]) for name in WHAT if name in self.began]
        ends = [began for _, began in begun[1:]] + [now]
        found = [Stage(n, began, end) for (n, began), end in zip(begun, ends, strict=True)]
        return [each for each in found if each.name != "ready for SSH"]
