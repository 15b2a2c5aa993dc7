"""Try everything at once, from one small process: `python -I -S` with only fast modules loaded.

Probes run in forked children, a few in each. What has no answer in time is asked to stop, then
killed with all that it started; then its answer says so.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from labsupport.linux import syscalls as sc
from labsupport.probes import (
    browser,
    cgroups,
    engine,
    kvm,
    namespaces,
    network,
    pressure,
    seccomp,
    vm,
)
from labsupport.probes.children import Outcome, ended_by, finish, start

Batch = dict[str, Callable[[], str]]

LIMIT_SECONDS = 8.0  # a busy machine takes its time, and a wrong "no" costs a student the cell
_GRACE_SECONDS = 0.2


def batches(kernel: str | None, folder: str) -> list[Batch]:
    """Return all probes, sorted into children; what waits for others to answer goes first.

    A fork costs 1 ms here and 45 ms in the Lab VM, so probes share a child unless one changes what
    the next would see: who has a seccomp filter, or children in a PID namespace, keeps them.
    """
    shared = namespaces.SHARED | network.PROBES
    alone = [kvm.PROBES, *_one_each(namespaces.ALONE), *_one_each(seccomp.PROBES)]
    plain = pressure.PROBES | browser.PROBES | engine.PROBES
    return [{"vm": partial(vm.vm, kernel, folder)}, shared, *alone, cgroups.PROBES, plain]


def _one_each(probes: Batch) -> list[Batch]:
    return [{name: function} for name, function in probes.items()]


def run(wanted: list[Batch], limit_seconds: float) -> dict[str, Outcome]:
    """Run all batches side by side and return what each probe has found.

    Where one probe is stuck or dies, those that stood behind it are run again, one by one.
    """
    running = {}
    for batch in wanted:
        pid, reading = start(batch, new_group=True)
        running[reading] = pid, batch
    outcomes: dict[str, Outcome] = {}
    again: list[Batch] = []
    late = _still_silent(list(running), time.monotonic() + limit_seconds)
    for reading, (pid, batch) in running.items():
        if reading in late:
            _stop(pid, reading)
        answers, how = finish(pid, reading)
        outcomes |= answers
        if silent := [name for name in batch if name not in answers]:
            failed, *untried = silent
            outcomes[failed] = _too_late(limit_seconds) if reading in late else ended_by(how)
            again += [{name: batch[name]} for name in untried]
    return outcomes | (run(again, limit_seconds) if again else {})


def _still_silent(reading: list[int], deadline: float) -> set[int]:
    """Wait until all have closed their pipes; return those that have not at the deadline."""
    waiting = select.poll()
    for pipe in reading:
        waiting.register(pipe, 0)  # POLLHUP is always told
    silent = set(reading)
    while silent and (seconds := deadline - time.monotonic()) > 0:
        for pipe, _ in waiting.poll(seconds * 1000):
            waiting.unregister(pipe)
            silent.remove(pipe)
    return silent


def _stop(pid: int, reading: int) -> None:
    """Ask a child to clean up and leave, then kill it with all that it started."""
    os.kill(pid, signal.SIGTERM)
    _still_silent([reading], time.monotonic() + _GRACE_SECONDS)
    os.killpg(pid, signal.SIGKILL)


def _too_late(limit_seconds: float) -> Outcome:
    return {
        "reason": f"there was no answer within {limit_seconds:g} s",
        "remedy": "try again when the machine is less busy: ./lab doctor",
    }


def main() -> None:
    """Take the kernel's path (or an empty word) and the folder for its memory; write JSON."""
    _, kernel, folder = sys.argv
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
    gc.freeze()  # a collection in a child would copy every page that it shares with us
    gc.disable()
    sys.stdout.write(json.dumps(run(batches(kernel or None, folder), LIMIT_SECONDS)))
