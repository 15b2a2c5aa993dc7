"""The start gate: as many guests start at a time as there are CPUs, one on each CPU.

Starting a guest keeps a CPU busy. Twenty guests at once on two CPUs are not ready in two minutes;
two at a time, all are ready after twenty seconds. A slot is a name in the abstract socket
namespace, see unix(7): the kernel gives it to one process and takes it back however that process
ends, it belongs to no user and leaves no file. A launcher that waits is connected to the holders,
and wakes when one of them goes.
"""

import contextlib
import os
import random
import select
import socket
import time

from labsupport.ownership.marks import Closing

PREFIX = "labsupport-start-"
LONGEST_WAIT_SECONDS = 120.0  # somebody else's stopped launcher must not block us for good
MOMENT_SECONDS = 0.2  # after which a name is tried again whose holder will not tell


class Slot(Closing):
    """The right to start a guest on `cpu`, until it is closed."""

    def __init__(self, cpu: int, holder: socket.socket | None) -> None:
        self.cpu = cpu
        self._holder = holder

    def close(self) -> None:
        """Let the next one start; may be called twice."""
        if self._holder:
            self._holder.close()


def enter() -> Slot:
    """Wait for a slot. The CPUs are tried in random order: guests spread over the machine."""
    until = time.monotonic() + LONGEST_WAIT_SECONDS
    cpus = sorted(os.sched_getaffinity(0))
    random.shuffle(cpus)
    while time.monotonic() < until:
        for cpu in cpus:
            slot = _take(cpu)
            if slot:
                return slot
        _wait_for_one(cpus, until)
    return Slot(cpus[0], None)


def _take(cpu: int) -> Slot | None:
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0{PREFIX}{cpu}")
    except OSError:
        holder.close()
        return None
    holder.listen(socket.SOMAXCONN)
    return Slot(cpu, holder)


def _wait_for_one(cpus: list[int], until: float) -> None:
    """Return when a holder has let go; after a moment, where one is deaf, or has its queue full."""
    seconds = max(until - time.monotonic(), 0)
    with contextlib.ExitStack() as stack:
        poll = select.poll()
        for cpu in cpus:
            waiter = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiter.setblocking(False)
            try:
                waiter.connect(f"\0{PREFIX}{cpu}")
            except (ConnectionRefusedError, BlockingIOError):
                seconds = min(seconds, MOMENT_SECONDS)
            else:
                poll.register(waiter, select.POLLIN)
        poll.poll(seconds * 1000)
