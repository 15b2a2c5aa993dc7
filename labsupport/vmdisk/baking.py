"""Start the new disk once and give its engine the base of the app, as one bakes a cloud's images.

Loading 170 MB into an engine is little work for a processor and much for an imitated one; done here
once, it is not done at each start of a notebook.
"""

from __future__ import annotations

import os
from pathlib import Path

from labsupport.errors import DiskBuildFailed
from labsupport.vm.machine.disk import BaseDisk, run_tool
from labsupport.vm.machine.virtual import VirtualMachine
from labsupport.vm.progress import Progress

SECONDS = 1200.0  # simulated, on a machine that is busy with others
# what is one machine's own, and would be all its copies'
_FORGET = (
    "systemctl stop docker.socket docker.service containerd.service; "
    "rm -rf /etc/ssh/ssh_host_* /home/*/.ssh /var/lib/docker/engine-id /var/log/journal "
    "/var/lib/systemd/random-seed; : > /etc/machine-id; fstrim /; sync"
)


def bake(base: BaseDisk, archive: Path) -> None:
    """Replace the disk by one whose engine has the image in the archive. Raises a `LabError`."""
    cpus = min(2, len(os.sched_getaffinity(0)))
    with VirtualMachine.create("1G", "4G", cpus, name="vm-disk", base=base) as machine:
        machine.drives.append(archive)
        with Progress("starting it for the first time"):
            machine.start()
            machine.wait(SECONDS)
        with Progress("loading the base of the app into its engine"):
            _do(machine, "systemctl start docker && docker load --quiet </dev/vdb")
            _do(machine, _FORGET)
            machine.stop()
        with Progress("packing"):
            pack(machine.folder / "disk.qcow2", base.image)


def pack(disk: Path, image: Path) -> None:
    """Write a disk as one compressed file, which appears all at once."""
    staged = image.with_name(f".{image.name}")
    argv = ["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd"]
    run_tool([*argv, str(disk), str(staged)])
    staged.replace(image)


def _do(machine: VirtualMachine, script: str) -> None:
    done = machine.ssh(["sudo", "sh", "-c", script], timeout=SECONDS)
    if done.returncode:
        raise DiskBuildFailed("the new disk's first start went wrong", done.stderr.strip())
