"""What a sandbox and a virtual machine cost, measured here: both sides of one picture."""

from __future__ import annotations

import time
from pathlib import Path

from labsupport.linux.sandbox import Sandbox
from labsupport.views.vm_costs import Cost
from labsupport.vm.machine.virtual import VirtualMachine

OF_A_CONTAINER = frozenset({"pid", "mount", "uts", "ipc", "net"})


def cost_of_sandbox() -> Cost:
    """Start a sandbox with a container's namespaces, run a program in it, and measure.

    Its memory is what its processes have of their own, and their share of what they share (Pss,
    proc_pid_smaps(5)); it takes no disk: it uses this machine's files.
    """
    began = time.monotonic()
    with Sandbox(new=OF_A_CONTAINER) as box:
        box.run(["true"])
        seconds = time.monotonic() - began
        with_sleeper = box.start(["sleep", "60"])
        memory = sum(_pss(pid) for pid in (box.pid, with_sleeper.pid))
    return Cost("sandbox", seconds, memory, 0)


def cost_of(machine: VirtualMachine) -> Cost:
    """Return what a running machine has cost: its start, QEMU's memory, base disk and own disk."""
    disk = machine.base.size_bytes + machine.own_disk_bytes
    return Cost("virtual machine", machine.stages[-1].ended_seconds, machine.resident_bytes, disk)


def _pss(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) << 10
