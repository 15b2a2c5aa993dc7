"""Who runs the virtual processor's instructions: the processor itself (KVM), or QEMU (TCG).

That /dev/kvm is there proves little: under some hypervisors it runs only kernels made for it. So
our own kernel is started under KVM for a moment, up to its first words.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from labsupport.vm.machine.disk import BaseDisk

PROGRAM = "qemu-system-x86_64"
PROBE_SECONDS = 3.0
FIRST_WORDS = b"Linux version"
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Accelerator:
    """`name` is QEMU's, `cpu` its processor model; `words` say it, `why` gives the reason."""

    name: str
    cpu: str
    words: str
    why: str

    @property
    def options(self) -> list[str]:
        """QEMU's options for it."""
        many = ",thread=multi,tb-size=256" if self.name == "tcg" else ""
        return ["-accel", self.name + many, "-cpu", self.cpu]


# A simple processor: what newer ones have for speed (rep movsb, AVX, XSAVE) is slow to imitate.
TCG_CPU = "qemu64,-svm"


def kvm() -> Accelerator:
    """Return the processor itself."""
    return Accelerator("kvm", "host", "hardware virtualisation (KVM)", "a kernel boots under it")


def tcg(why: str) -> Accelerator:
    """Return the imitated processor, with the reason for it."""
    return Accelerator("tcg", TCG_CPU, "every instruction translated by QEMU (TCG)", why)


def choose(disk: BaseDisk) -> Accelerator:
    """Return KVM if it runs the disk's kernel here, else TCG; kept until this machine restarts."""
    if not os.path.exists("/dev/kvm"):
        return tcg("there is no /dev/kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return tcg("this user may not open /dev/kvm")
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept = Path(platformdirs.user_cache_dir("labsupport")) / "kvm-machine" / boot_id
    if not kept.exists():
        works = boots(disk)
        kept.parent.mkdir(parents=True, exist_ok=True)
        for old in kept.parent.iterdir():
            old.unlink(missing_ok=True)
        kept.write_text("works" if works else "does not boot a kernel")
    if kept.read_text() == "works":
        return kvm()
    return tcg("/dev/kvm is there, but a kernel did not boot under it")


def boots(disk: BaseDisk, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the kernel speaks under KVM within so many seconds."""
    argv = [PROGRAM, *kvm().options, "-machine", "q35", "-nodefaults", "-no-user-config"]
    argv += ["-display", "none", "-no-reboot", "-m", "256M", "-serial", "stdio"]
    argv += ["-kernel", str(disk.kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return FIRST_WORDS in _said(process, time.monotonic() + seconds)
        finally:
            process.kill()


def _said(process: subprocess.Popen[bytes], until: float) -> bytes:
    said = b""
    assert process.stdout  # noqa: S101 (a pipe was asked for)
    while (left := until - time.monotonic()) > 0 and FIRST_WORDS not in said:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        data = os.read(process.stdout.fileno(), 4096)
        if not data or len(said) > _MOST_BYTES:
            break
        said += data
    return said
