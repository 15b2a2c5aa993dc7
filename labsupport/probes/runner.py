"""Try everything at once, from one small process: `python -I -S` with only fast modules loaded.

Each probe has a child of its own, forked here in a millisecond. What has no answer in time is
asked to stop, then killed with all that it started; then its answer says so.
"""

from __future__ import annotations

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
from labsupport.probes.children import Outcome, Refused, collect, spawn

LIMIT_SECONDS = 2.0
_GRACE_SECONDS = 0.2


def probes(kernel: str | None) -> dict[str, Callable[[], str]]:
    """Return all probes by the name of their capability, the slow ones first."""
    topics = (engine, network, kvm, seccomp, namespaces, cgroups, pressure, browser)
    found: dict[str, Callable[[], str]] = {"vm": partial(vm.vm, kernel)}
    for topic in topics:
        found |= topic.PROBES
    return found


def run(wanted: dict[str, Callable[[], str]], limit_seconds: float) -> dict[str, Outcome]:
    """Run all probes side by side and return what each has found."""
    running = {
        reading: (name, pid)
        for name, function in wanted.items()
        for pid, reading in [spawn(partial(_unless_stopped, function), new_group=True)]
    }
    outcomes: dict[str, Outcome] = {}
    deadline = time.monotonic() + limit_seconds
    for reading in _as_they_answer(running, deadline):
        name, pid = running.pop(reading)
        outcomes[name] = collect(pid, reading)
    for reading, (name, pid) in running.items():
        outcomes[name] = _stop(pid, reading, limit_seconds)
    return outcomes


def _unless_stopped(function: Callable[[], str]) -> str:
    signal.signal(signal.SIGTERM, _out_of_time)  # so that a probe cleans up on its way out
    return function()


def _out_of_time(*_: object) -> None:
    raise Refused("no answer within the time limit")


def _as_they_answer(running: dict[int, tuple[str, int]], deadline: float):  # type: ignore[no-untyped-def]
    waiting = select.poll()
    for reading in running:
        waiting.register(reading, select.POLLIN | select.POLLHUP)
    left = len(running)
    while left and (seconds := deadline - time.monotonic()) > 0:
        for reading, _ in waiting.poll(seconds * 1000):
            waiting.unregister(reading)
            left -= 1
            yield reading


def _stop(pid: int, reading: int, limit_seconds: float) -> Outcome:
    os.kill(pid, signal.SIGTERM)
    select.select([reading], [], [], _GRACE_SECONDS)
    os.killpg(pid, signal.SIGKILL)
    collect(pid, reading)
    return {
        "reason": f"there was no answer within {limit_seconds:g} s",
        "remedy": "try again when the machine is less busy: ./lab doctor",
    }


def main() -> None:
    """Read the kernel's path (or an empty word) from the arguments; write outcomes as JSON."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
    sys.stdout.write(json.dumps(run(probes(sys.argv[1] or None), LIMIT_SECONDS)))
