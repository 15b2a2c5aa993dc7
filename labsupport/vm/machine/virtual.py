"""A virtual machine from its creation to its deletion: start it, log in, copy, open ports."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from labsupport import ownership
from labsupport.completed import Completed
from labsupport.errors import MachineFailed, MachineNotStarted, TimedOut
from labsupport.vm.machine import accelerator, hypervisor, resources, ssh
from labsupport.vm.machine.disk import BaseDisk, find_disk, make_overlay
from labsupport.vm.machine.greeting import Greeting
from labsupport.vm.machine.stages import Progress, Stage

LEAST_MEMORY, LEAST_DISK = 384 << 20, 4 << 30
BOOT_SECONDS = 300.0  # simulated, on a machine that is busy with others
_TICK_SECONDS = 0.1
_LEAN = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "lean.py")]
_machines: dict[str, VirtualMachine] = {}


def running() -> list[VirtualMachine]:
    """Return this notebook's machines that run, the latest first."""
    return [each for each in reversed(_machines.values()) if each.is_running]


class VirtualMachine:
    """A machine of its own: `create`, `start`, `wait`, `ssh`, `copy`, `open_port`, `delete`.

    All of it is in `folder`: the disk (what differs from the base), the key of the occasion, the
    console's text. It ends with this Python, however that ends, and the folder with it.
    """

    @classmethod
    def create(
        cls,
        memory: str = "1G",
        disk: str = "4G",
        cpus: int = 1,
        *,
        name: str = "lab-vm",
        base: BaseDisk | None = None,
    ) -> VirtualMachine:
        """Create a machine, switched off. One of the same name is deleted first.

        Its disk begins as `base`, by default what `./lab vm-disk` has made.
        Raises `DiskMissing`, `QemuMissing`, `NoSpace`, `BadAmount`.
        """
        hypervisor.program()
        memory_bytes = resources.amount(memory, LEAST_MEMORY)
        disk_bytes = resources.amount(disk, LEAST_DISK)
        resources.require_space()
        hardware = hypervisor.Hardware(memory_bytes, disk_bytes, cpus)
        machine = cls(name, hardware, base or find_disk())
        if name in _machines:
            _machines[name].delete()
        _machines[name] = machine
        machine._furnish()
        return machine

    def __init__(self, name: str, hardware: hypervisor.Hardware, base: BaseDisk) -> None:
        self.name, self.hardware, self.base = name, hardware, base
        self.accelerator = accelerator.choose(base)
        self.progress = Progress()
        self.drives: list[Path] = []
        """More disks, read-only, as files of this machine."""
        self.open_ports: dict[int, int] = {}
        """The machine's ports that can be reached, each with its port on our loopback."""
        self._keeper: subprocess.Popen[bytes] | None = None
        self._host_key = ""

    def _furnish(self) -> None:
        """Make the folder, with a disk of its own and a key, and who removes it."""
        self.folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("machine")))
        argv = [*_LEAN, "labsupport.vm.machine.housekeeper", str(self.folder), str(os.getpid())]
        self._housekeeper = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
        make_overlay(self.base.image, self.folder / "disk.qcow2", self.hardware.disk_bytes)
        self._public_key = ssh.make_key(self.folder / "key")

    def start(self) -> None:
        """Switch it on; it is ready later, see `wait`. Raises `TooLittleMemory`."""
        if self.is_running:
            return
        resources.require_memory(self.hardware.memory_bytes)
        self._hang_up()
        port = resources.free_port()
        self.login = ssh.Login(port, self.folder / "key", self.folder / "known_hosts")
        self._greeting, self.progress, self.open_ports = Greeting(port), Progress(), {}
        (self.folder / "console").write_bytes(b"")
        self._console = (self.folder / "console").open("rb")
        self._errors = (self.folder / "errors").open("w+b")
        ours, theirs = socket.socketpair()
        self._to_keeper, keepers = socket.socketpair()
        with theirs, keepers:
            argv = hypervisor.command(
                self.hardware, self.base, self.folder, accelerator=self.accelerator,
                key=self._public_key, port=port, monitor=theirs.fileno(), drives=self.drives,
            )  # fmt: skip
            self._keeper = subprocess.Popen(
                [*_LEAN, "labsupport.vm.keeper", str(os.getpid()), "-", *argv],
                stdin=keepers.fileno(),
                stdout=self._errors,
                stderr=self._errors,
                env={**os.environ, ownership.VARIABLE: ownership.mark()},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._monitor = hypervisor.Monitor(ours)
        self._started_at = time.monotonic()

    @property
    def is_running(self) -> bool:
        """Whether QEMU runs."""
        return self._keeper is not None and self._keeper.poll() is None

    def look(self) -> bool:
        """Take in what the console has said since; tell whether one can log in.

        Raises `MachineFailed` if the machine has ended.
        """
        if self._keeper is None:
            raise MachineNotStarted(f"{self.name} is switched off", "", "vm.start()")
        now = time.monotonic() - self._started_at
        self.progress.hear(self._console.read().decode(errors="replace"), now)
        if not self.is_running:
            raise MachineFailed(f"{self.name} has ended", self._last_words())
        self._host_key = self._host_key or self.progress.host_key
        if not self.progress.is_ready and self._host_key and self._greeting.heard():
            self.login.trust(self._host_key)
            self.progress.ready(now)
        return self.progress.is_ready

    def wait(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until one can log in. Raises `TimedOut`, `MachineFailed`."""
        until = time.monotonic() + seconds
        while not self.look():
            if time.monotonic() > until:
                raise TimedOut(f"{self.name} is not ready after {seconds:g} s", self._last_words())
            time.sleep(_TICK_SECONDS)

    @property
    def console(self) -> str:
        """What the machine has said on its console."""
        return self.progress.text

    @property
    def stages(self) -> list[Stage]:
        """Return the stages of its start so far."""
        return self.progress.stages(time.monotonic() - self._started_at)

    def ssh(
        self,
        argv: Sequence[str],
        *,
        input: str = "",  # noqa: A002 (as in subprocess.run)
        timeout: float = 300,
        key: Path | None = None,
        anew: bool = False,
    ) -> Completed:
        """Log in and run a program; status 255 is ssh's own, when it did not get that far.

        All calls share one connection, but those with another `key` or `anew`: in a new one, both
        sides prove who they are. Raises `TimedOut`.
        """
        self._require_ready()
        login = self.login.with_key(key) if key else self.login
        command = login.command(shlex.join(argv), shared=not key and not anew)
        return ssh.run(command, argv, text=input, timeout=timeout)

    def copy(self, source: str | Path, destination: str = ".") -> Completed:
        """Copy a file or folder into the home folder of the machine's user, by scp."""
        self._require_ready()
        told = ["scp", "-r", str(source), f"{self.name}:{destination}"]
        return ssh.run(
            self.login.copy_command(Path(source), destination), told, text="", timeout=300
        )

    def open_port(self, port: int) -> int:
        """Let this machine's loopback reach a port of it; return the port here.

        A cloud's firewall does this for the whole world, or for the addresses that one names.
        """
        self._require_ready()
        if port not in self.open_ports:
            here = resources.free_port()
            self._say(f"hostfwd_add net tcp:127.0.0.1:{here}-:{port}")
            self.open_ports[port] = here
        return self.open_ports[port]

    @property
    def pid(self) -> int:
        """The process that is the machine: QEMU."""
        if self._keeper is None or not self.is_running:
            raise MachineNotStarted(f"{self.name} is switched off", "", "vm.start()")
        keeper = self._keeper.pid
        return int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])

    @property
    def resident_bytes(self) -> int:
        """How much of this machine's memory QEMU has in use; proc_pid_status(5)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10

    @property
    def own_disk_bytes(self) -> int:
        """What its disk takes on ours, beside the base: what has been written."""
        return (self.folder / "disk.qcow2").stat().st_blocks * 512

    def stop(self, seconds: float = 60) -> None:
        """Have it switch itself off; its disk stays, and it can be started again."""
        if self.is_running and self._keeper:
            self.ssh(["sudo", "systemctl", "poweroff"])
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(seconds)
        self._hang_up()

    def delete(self) -> None:
        """Switch it off, as by its plug, and remove its disk and key. Twice is once."""
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

    def __enter__(self) -> VirtualMachine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.delete()

    def __repr__(self) -> str:
        hardware = self.hardware
        state = "running" if self.is_running else "switched off"
        return (
            f"{self.name}: {hardware.memory_bytes >> 20} MiB of memory, {hardware.cpus} CPU, "
            f"{hardware.disk_bytes >> 30} GiB of disk; {self.accelerator.words}; {state}"
        )

    def _require_ready(self) -> None:
        if not self.is_running:
            raise MachineNotStarted(f"{self.name} is switched off", "", "vm.start()")
        if not self.progress.is_ready:
            self.wait()

    def _say(self, line: str) -> None:
        if answer := self._monitor.human(line).strip():
            raise MachineFailed(f"QEMU did not do `{line}`", answer)

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip() or self.console.strip()[-300:]
