"""QEMU's command line for one machine, and its monitor, by which ports are opened and closed."""

import json
import socket
from dataclasses import dataclass
from pathlib import Path

from labsupport.doctor.machine import probe
from labsupport.doctor.qemu import INITRD, KERNEL, PROGRAM, BaseDisk
from labsupport.errors import LabError

# mitigations protect against other tenants' programs; nobody else is on this machine
_KERNEL_OPTIONS = (
    *("root=/dev/vda", "rw", "console=ttyS0", "mitigations=off", "apparmor=0"),
    "no_timer_check",  # on a busy machine, an emulated timer ticks too rarely to pass the check
)
# a network card that is renamed while its service starts is sometimes forgotten
_SYSTEM_OPTIONS = ("systemd.show_status=1", "systemd.log_target=null", "net.ifnames=0")


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of: memory and disk in bytes, processors."""

    memory_bytes: int
    disk_bytes: int
    cpus: int


@dataclass(frozen=True)
class Accelerator:
    """Who runs the virtual processor's instructions: the processor itself, or QEMU.

    `name` is QEMU's, `cpu` its processor model; `words` say it, `why` gives the reason.
    """

    name: str
    cpu: str
    words: str
    why: str

    @property
    def options(self) -> list[str]:
        many = ",thread=multi,tb-size=256" if self.name == "tcg" else ""
        return ["-accel", self.name + many, "-cpu", self.cpu]


# A simple processor: what newer ones have for speed (rep movsb, AVX, XSAVE) is slow to imitate.
TCG_CPU = "qemu64,-svm"


def choose() -> Accelerator:
    """Return the processor itself (KVM) if the doctor saw it run code here, else TCG."""
    if no := probe().why_not("kvm"):
        return Accelerator("tcg", TCG_CPU, "every instruction translated by QEMU (TCG)", no.reason)
    return Accelerator("kvm", "host", "hardware virtualisation (KVM)", "it runs code here")


def command(
    hardware: Hardware, disk: BaseDisk, folder: Path, *, accelerator: Accelerator, key: str,
    port: int, monitor: int,
) -> list[str]:  # fmt: skip
    """Return the command that switches the machine on.

    Its SSH port is `port` on this machine's loopback; it can reach neither this machine nor a
    network. `monitor` is a descriptor. The kernel is handed over by QEMU, where a cloud's firmware
    would look for a boot loader on the disk.
    """
    network = f"user,id=net,restrict=on,hostname=lab-vm,hostfwd=tcp:127.0.0.1:{port}-:22"
    return [
        *(PROGRAM, *accelerator.options, "-machine", "q35,graphics=off"),
        *("-m", f"{hardware.memory_bytes >> 10}k", "-smp", str(hardware.cpus)),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-chardev", f"file,id=console,path={_value(folder / 'console')}"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-drive", f"file={_value(folder / 'disk.qcow2')},if=virtio,format=qcow2,cache=unsafe"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
        *("-kernel", str(disk.folder / KERNEL), "-initrd", str(disk.folder / INITRD)),
        *("-append", " ".join([*_KERNEL_OPTIONS, *_SYSTEM_OPTIONS, f"lab.key={key}"])),
    ]


def _value(path: Path) -> str:
    """Write a path as QEMU's options want it: a comma twice."""
    return str(path).replace(",", ",,")


class Monitor:
    """QEMU's monitor (QMP), over a socket of ours."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(20)
        self._lines = connection.makefile("rb")
        self._greeted = False

    def human(self, line: str) -> str:
        """Say a line to the monitor as a person would; return its answer."""
        if not self._greeted:
            self._ask("qmp_capabilities")
            self._greeted = True
        return str(self._ask("human-monitor-command", **{"command-line": line}))

    def close(self) -> None:
        self._lines.close()
        self._connection.close()

    def _ask(self, what: str, **arguments: object) -> object:
        message = {"execute": what, "arguments": arguments}
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
            for line in self._lines:  # the greeting and events come in between
                answer = json.loads(line)
                if "error" in answer:
                    raise LabError(f"QEMU refuses {what}", answer["error"]["desc"])
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise LabError("QEMU's monitor does not answer", str(error)) from error
        raise LabError("QEMU's monitor has hung up")
