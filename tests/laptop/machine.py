"""The laptop, switched on: `student` may become root by sudo, `visitor` may not."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from labsupport.build.bases import SYSTEM_BASES, find_archive
from labsupport.doctor import qemu
from labsupport.machine import hypervisor
from labsupport.machine.virtual import VirtualMachine
from labsupport.trace import Completed
from tests.laptop import disk
from tests.toys import CHECKOUT

BOOT_SECONDS = 1800
# What notebook 12's machine does without and a laptop has: a network, AppArmor, a processor for
# which NumPy is built (x86-64-v2).
_DIFFERENT = {
    "restrict=on,hostname=lab-vm": "hostname=laptop",
    "apparmor=0": "apparmor=1",
    hypervisor.TCG_CPU: f"{hypervisor.TCG_CPU},+ssse3,+sse4.1,+sse4.2,+popcnt",
    "tb-size=256": "tb-size=512",
}
_command = hypervisor.command


def _as_a_laptop(word: str) -> str:
    for cloud, laptop in _DIFFERENT.items():
        word = word.replace(cloud, laptop)
    return word


@contextmanager
def booted() -> Iterator[VirtualMachine]:
    """Switch a laptop on, and wait until it lets the student in."""
    found = disk.made()
    with (
        patch.object(qemu, "find_disk", lambda: found),
        patch.object(
            hypervisor, "command", lambda *a, **o: [*map(_as_a_laptop, _command(*a, **o))]
        ),
        VirtualMachine.create("4G", "16G", cpus=2, name="laptop") as machine,
    ):
        machine.start()
        machine.wait(BOOT_SECONDS)
        yield machine


def run(
    machine: VirtualMachine, script: str, user: str = "student", seconds: float = 3600
) -> Completed:
    """Run a script in a login shell of a user's."""
    argv = ["bash", "-lc", script]
    if user != "student":
        argv = ["sudo", "runuser", "--login", user, "--command", script]
    return machine.run(argv, timeout=seconds)


def bring_the_course(machine: VirtualMachine) -> None:
    """Put this checkout's last commit where all can clone it, and the app's base if it is here."""
    with tempfile.TemporaryDirectory(prefix="lab-laptop-") as scratch:
        bundle = Path(scratch) / "course"
        subprocess.run(["git", "bundle", "create", "-q", bundle, "HEAD"], cwd=CHECKOUT, check=True)
        _send(machine, bundle, Path("/srv"))
    if archive := find_archive():
        _send(machine, archive, SYSTEM_BASES)


def _send(machine: VirtualMachine, file: Path, folder: Path) -> None:
    write = f"mkdir -p {folder}; cat >{folder / file.name}"
    machine.run(["sudo", "sh", "-ec", write], stdin=file, timeout=3600)
