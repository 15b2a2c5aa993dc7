"""How each entrant of the race is started, measured and stopped: what all have in common.

A runner is prepared once (an environment is made, an image is loaded), then started as often as
asked; `start()` returns when the app's first answer is there.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from labsupport.machine import probe
from labsupport.race.bait import Bait
from labsupport.race.results import BreakOut

APP = Path(__file__).with_name("app.py")
SECONDS = 60.0


class Runner(ABC):
    """One way to run the app.

    `set_up_seconds` and `disk_bytes` are what preparing it took; `answer` is the app's latest page,
    `memory_bytes` what all its processes held in memory then, in proportion where they share it
    (`Pss` in proc_pid_smaps(5); 0 where we may not read it).
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    """What the machine must have, in the words of `./lab doctor`."""
    set_up_words: ClassVar[str] = ""
    disk_words: ClassVar[str] = "the host's files"

    def __init__(self, bait: Bait) -> None:
        self.bait = bait
        self.set_up_seconds = 0.0
        self.disk_bytes = 0
        self.answer: Mapping[str, Any] = {}
        self.memory_bytes = 0

    @classmethod
    def why_not(cls) -> str:
        """Tell why it cannot run on this machine; "" if it can."""
        return next((no.reason for no in probe().missing(*cls.needs).values()), "")

    def prepare(self) -> None:
        """Make what has to be made once, and note what that takes."""
        began = time.monotonic()
        self.disk_bytes = self._prepare()
        self.set_up_seconds = time.monotonic() - began

    def start(self) -> float:
        """Start the app; return the seconds until its first answer. It runs until `stop()`.

        Raises:
            RuntimeFailed: no answer came; the message has the app's words.

        """
        argument = self.bait.lay()
        began = time.monotonic()
        answer = self._start(argument)
        seconds = time.monotonic() - began
        self.answer = json.loads(answer)
        self.memory_bytes = sum(map(_proportional, self._pids()))
        return seconds

    def got(self, hostname: str, boot_id: str) -> BreakOut:
        """Tell what the app got at, by looking at the host's side of it."""
        page = self.answer
        return BreakOut(
            reads_file=page["read"] == self.bait.secret,
            changes_file=self.bait.is_changed(),
            sees_process=page["found"] > 0,
            ends_process=self.bait.is_ended(expected=page["ended"] == "sent"),
            own_hostname=page["hostname"] != hostname,
            own_kernel=page["boot_id"] != boot_id,
        )

    def _prepare(self) -> int:
        return 0

    @abstractmethod
    def _start(self, argument: str) -> str:
        """Start it and return its first line."""

    @abstractmethod
    def _pids(self) -> Sequence[int]:
        """Return all processes that are there for the app, as this machine numbers them."""

    @abstractmethod
    def stop(self) -> None:
        """End it; may be called twice."""

    def close(self) -> None:
        """End it, and remove what was prepared."""
        self.stop()


def _proportional(pid: int) -> int:
    """Return a process's share of the memory that it holds, in bytes."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
