"""A container that has been built by hand, seen from outside: its processes, and what it told."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labsupport.errors import ProcessGone, TimedOut
from labsupport.linux import procfs
from labsupport.linux.process import Process
from labsupport.linux.workshop import impossible, scripts

PATIENCE_SECONDS = 20.0


@dataclass
class Handmade:
    """A container built by hand: `process` is the parent that stayed outside."""

    process: Process
    journal: Path
    script: scripts.Script
    config: dict[str, Any]
    asked: float
    """When it was asked for, in seconds of CLOCK_MONOTONIC."""

    @cached_property
    def pid(self) -> int:
        """The number, on this side, of the program in the container."""
        child = child_of(self.process.pid)
        if child is None:
            raise ProcessGone("the container has no process", "it has ended")
        below = child_of(child)  # with a PID namespace of its own, its process 1
        return below if below and procfs.status(below).pids[-1] == 1 else child

    @property
    def address(self) -> str:
        """Its address in its own network."""
        return str(self.config["inside"]).partition("/")[0]

    def told(self) -> list[dict[str, Any]]:
        """What it wrote down while it was built: steps and when, a failure, the execution."""
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def wait_until_executed(self) -> None:
        """Return when the steps are done.

        Raises:
            StepFailed: a step failed.
            TimedOut: it takes longer than 20 seconds.

        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            ended = self.process.returncode is not None
            told = self.told()
            if any("failed" in line for line in told):
                raise impossible.explain(told, self.script)
            if any("execute" in line for line in told):
                return
            if ended:
                raise impossible.silent(self.process.errors, self.script)
            if time.monotonic() > until:
                raise TimedOut("the container is not there", f"it did: {told}")
            time.sleep(0.003)

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self.process.signal(9)
        self.process.wait(PATIENCE_SECONDS)

    def __repr__(self) -> str:
        return f"<a container built by hand: {self.process!r}>"


def child_of(pid: int) -> int | None:
    """Return a child of a process, or None if it has none."""
    for other in procfs.all_pids():
        try:
            if procfs.status(other).parent_pid == pid:
                return other
        except ProcessGone:  # others come and go
            continue
    return None
