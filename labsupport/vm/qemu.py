"""QEMU as backend: a whole machine, simulated or run by KVM, under the distribution's own kernel.

Slower to start than User-Mode Linux, but with what that lacks: time namespaces, several CPUs (and
so cpuset), PSI with any distribution's kernel. The host's files are shared by 9p, the line is a
virtio port.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from labsupport.errors import (
    GuestDied,
    GuestKernelMissing,
    LabError,
    NotAGuestKernel,
    QemuMissing,
    TooLittleMemory,
)
from labsupport.vm import initramfs
from labsupport.vm.vmlinux import unpacked

name = "qemu"
boot_seconds = 90.0  # simulated, on a machine that is busy with others

CPUS = int(os.environ.get("LAB_CPUS", "1"))  # each more doubles the start where they are simulated
pinned = CPUS == 1
keeps_files_open = False
disk = "/dev/vda"
LEAST_MEMORY = 192 << 20
PROBE_SECONDS = 2.0
_PROGRAM = "qemu-system-x86_64"
_LEAN = Path(__file__).with_name("lean.py")
_9P = "trans=virtio,version=9p2000.L,msize=262144,cache=mmap"
# mitigations and boot messages cost a third of the start; nobody else is on this machine
_KERNEL_OPTIONS = ("console=ttyS0", "quiet", "mitigations=off", "panic=-1", "psi=1")


def check(memory_bytes: int) -> None:
    """Raise a `LabError` if the host lacks what a guest with so much memory needs."""
    if memory_bytes < LEAST_MEMORY:
        raise TooLittleMemory(
            "the guest would have too little memory",
            f"{memory_bytes >> 20} MB were asked for",
            f"give it {LEAST_MEMORY >> 20} MB or more",
        )
    _program()
    find_kernel()


def command(
    memory_bytes: int, line: int, share: Sequence[str], disk: int | None = None
) -> list[str]:
    """Return the command that boots a guest with its line and its disk on these descriptors."""
    kernel, release, modules = find_kernel()
    accelerator = "kvm" if kvm_works() else "tcg"
    return [
        *_machine(accelerator, kernel, initramfs.prepare(release, modules)),
        *("-m", f"{memory_bytes >> 10}k", "-smp", str(CPUS)),
        *("-chardev", "file,id=console,path=/dev/fd/1", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=line,fd={line}"),
        *("-device", "virtserialport,chardev=line,name=lab"),
        *([] if disk is None else _drive(disk)),
        *_export("root", "/", "readonly=on"),
        *(option for n, path in enumerate(share) for option in _export(f"share{n}", path)),
        *("-append", _append(LAB_LINE="/dev/vport0p1", LAB_PYTHON=_python(), LAB_LEAN=str(_LEAN))),
    ]


def environment(memory_bytes: int) -> dict[str, str]:
    """Return the environment of that command."""
    return {"PATH": os.defpath}


def mounts(share: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return the mounts (target, source, type, options) that share the host's folders."""
    return [(path, f"share{number}", "9p", _9P) for number, path in enumerate(share)]


def explain(console: str, was_up: bool) -> LabError:
    """Say what ended a guest, from the last lines of its console."""
    if "annot allocate memory" in console:
        return TooLittleMemory(
            "the Lab VM does not fit into this machine's memory",
            console,
            "shut down other notebooks, or give it less memory (LAB_MEMORY=512M)",
        )
    return GuestDied("the Lab VM has died", console)


def find_kernel() -> tuple[Path, str, Path]:
    """Find a kernel for the guest: its file, its release, the folder of its modules.

    It is the one that `LAB_QEMU_KERNEL` names, else the newest of the distribution's that can mount
    the host's files. Raises `GuestKernelMissing`.
    """
    chosen = os.environ.get("LAB_QEMU_KERNEL")
    files = [Path(chosen)] if chosen else [*Path("/boot").glob("vmlinuz-*")]
    files += [] if chosen else [*Path("/lib/modules").glob("*/vmlinuz")]
    refusals = []
    for file in sorted(files, key=lambda file: _numbers(_release(file)), reverse=True):
        release = _release(file)
        modules = Path("/lib/modules") / release
        if not os.access(file, os.R_OK):
            refusals.append(f"{file} may not be read, or is not there")
        elif not (modules / "modules.dep").exists():
            refusals.append(f"{file} has no modules in {modules}")
        elif not initramfs.can_share(modules):
            refusals.append(f"{file} has no 9p over virtio")
        else:
            return file, release, modules
    raise GuestKernelMissing(
        "there is no kernel for a Lab VM in QEMU",
        "; ".join(refusals) or "none is in /boot",
        "sudo apt-get install linux-image-amd64 (on Ubuntu linux-image-generic, and "
        "sudo chmod +r /boot/vmlinuz-*), or name one: LAB_QEMU_KERNEL=/boot/vmlinuz-…",
    )


def kvm_works() -> bool:
    """Whether KVM runs an ordinary kernel here: one is booted, which takes two seconds at most.

    That `/dev/kvm` is there proves little: under some hypervisors it runs only kernels of a kind.
    The answer is kept until the machine starts again.
    """
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and _kvm_answer() == "works"


@functools.cache
def _kvm_answer() -> str:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept = Path(platformdirs.user_cache_dir("labsupport")) / "kvm" / boot_id
    if not kept.exists():
        answer = "works" if _probe_boot() else "does not boot a kernel"
        kept.parent.mkdir(parents=True, exist_ok=True)
        for old in kept.parent.iterdir():
            old.unlink(missing_ok=True)
        kept.write_text(answer)
    return kept.read_text()


def _probe_boot() -> bool:
    """Boot a kernel under KVM up to its first program, which says so and switches off."""
    kernel, release, modules = find_kernel()
    argv = _machine("kvm", kernel, initramfs.prepare(release, modules))
    argv += ["-m", "256M", "-serial", "stdio", "-append", _append(LAB_PROBE="1")]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return initramfs.PROBED.encode() in done.stdout


def _machine(accelerator: str, kernel: Path, initrd: Path) -> list[str]:
    tcg = accelerator == "tcg"
    return [
        *(_program(), "-accel", "tcg,thread=multi" if tcg else "kvm"),
        *("-cpu", "max" if tcg else "host", "-machine", "q35"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(unpacked(kernel)), "-initrd", str(initrd)),
    ]


def _export(tag: str, path: str, *options: str) -> list[str]:
    # a comma in a value is written twice
    local = [f"local,id={tag}", f"path={path.replace(',', ',,')}", "security_model=none"]
    return [
        *("-fsdev", ",".join([*local, "multidevs=remap", *options])),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    ]


def _drive(disk: int) -> list[str]:
    # nobody will read it after a crash: nothing is ever flushed, and freed blocks are the host's
    options = ("format=raw", "if=virtio", "cache=unsafe", "discard=unmap")
    return ["-drive", ",".join([f"file=/proc/self/fd/{disk}", *options])]


def _append(**environment: str) -> str:
    """Write the kernel's command line; what it does not know goes to the first program."""
    return " ".join([*_KERNEL_OPTIONS, *(f'{key}="{text}"' for key, text in environment.items())])


def _program() -> str:
    if os.uname().machine != "x86_64":
        raise NotAGuestKernel("the Lab VM cannot run here", f"{os.uname().machine} is not x86-64")
    if not (found := shutil.which(_PROGRAM)):
        raise QemuMissing(
            "QEMU is not installed",
            f"no program `{_PROGRAM}` was found",
            "sudo apt-get install qemu-system-x86",
        )
    return found


def _python() -> str:
    return str(Path(sys.executable).resolve())


def _release(kernel: Path) -> str:
    if kernel.name == "vmlinuz":
        return kernel.parent.name
    return kernel.name.removeprefix("vmlinuz-")


def _numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]
