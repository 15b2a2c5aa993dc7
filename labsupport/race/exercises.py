"""The exercises of notebook 01: tell contained processes from others, and build walls to order."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.errors import ProcessGone, TimedOut
from labsupport.kernel.procfs import namespaces, processes
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

MOMENT_SECONDS = 0.1
KINDS = {"pid": "a PID", "mount": "a mount", "uts": "a UTS", "ipc": "an IPC"}
SLEEPERS = ("sleep", "busybox", "coreutils")  # the program behind that name, by system


class TellThemApart(Exercise):
    """Of five programs, end those that share all their namespaces with this notebook."""

    name = "01.1"
    moment = 0.5
    hints = (
        "`ls -l /proc/PID/ns` shows which namespaces a process lives in, `ls -l /proc/self/ns` "
        "those of your shell. In Python: `namespaces(PID)` and `namespaces()`.",
        "A process whose eight numbers are all the same as your shell's is an ordinary one: "
        "`kill PID` ends it.",
    )

    def begin(self) -> None:
        self._plain: dict[int, subprocess.Popen[bytes]] = {}
        self._contained: dict[int, Process] = {}
        contained = self.random.choice([2, 3])
        kinds = ["contained"] * contained + ["plain"] * (5 - contained)
        self.random.shuffle(kinds)
        # `cat` ends with its input, or with this notebook
        reading, writing = os.pipe()
        try:
            self._pids = tuple(self._start(kind, reading) for kind in kinds)
        finally:
            os.close(reading)
            self.ends.callback(os.close, writing)

    @property
    def pids(self) -> tuple[int, ...]:
        """The five processes."""
        return self._pids

    def _start(self, kind: str, reading: int) -> int:
        if kind == "plain":
            process = subprocess.Popen(["cat"], stdin=reading)
            self.ends.enter_context(process)  # at its end, it is waited for
            self.ends.callback(process.kill)  # it may have been stopped, by SIGSTOP
            self._plain[process.pid] = process
            return process.pid
        walls = ["uts", *self.random.sample(["ipc", "mount"], self.random.choice([0, 1]))]
        box = self.ends.enter_context(Sandbox(new=set(walls)))
        inside = box.start(["cat"], stdin=reading)
        self._contained[inside.pid] = inside
        return inside.pid

    def task(self) -> str:
        return (
            f"Five processes run: {_listed(self._pids)}. Some live in namespaces of their own; the "
            "others are ordinary processes like any on this machine. End the ordinary ones, and "
            "leave the contained ones alone. Commands are enough: `ls -l /proc/PID/ns` and `kill`."
        )

    def look(self) -> Verdict:
        ours = namespaces()
        alive = {pid: own for pid in self._pids if (own := self._namespaces(pid))}
        ordinary = [pid for pid, own in alive.items() if own == ours]
        contained = [pid for pid, own in alive.items() if own != ours]
        if lost := sorted(set(self._contained) - set(contained)):
            return Verdict(False, f"{_listed(lost)} lived in other namespaces, and ended. "
                                  f"{AGAIN}")  # fmt: skip
        if ordinary:
            return Verdict(
                False,
                f"{_listed(ordinary)} still {'run' if len(ordinary) > 1 else 'runs'}, in the "
                "same namespaces as this notebook.",
            )
        told = "; ".join(
            f"{pid} has its own {' and '.join(k for k in own if own[k] != ours[k])}"
            for pid, own in alive.items()
        )
        return Verdict(True, f"the ordinary ones have ended; {told}.")

    def _namespaces(self, pid: int) -> dict[str, int] | None:
        try:
            # a signal takes a moment
            (self._plain.get(pid) or self._contained[pid]).wait(MOMENT_SECONDS)
        except (subprocess.TimeoutExpired, TimedOut):
            with suppress(ProcessGone):
                return namespaces(pid)
        return None

    def answer(self) -> str:
        return (
            "import os, signal\n"
            "from labsupport import namespaces\n\n"
            "for pid in exercise.pids:\n"
            "    if namespaces(pid) == namespaces():\n"
            "        os.kill(pid, signal.SIGTERM)"
        )


class WallsToOrder(Exercise):
    """Run a program with exactly the walls that are asked for."""

    name = "01.2"
    hints = (
        "Each kind of namespace can be had by itself: `Sandbox(new={…})` makes just these.",
        'For a user and a network namespace it would be `exercise.box = Sandbox(new={"user", '
        '"net"}).open()`, then `exercise.box.start(["sleep", "…"])`.',
    )

    def begin(self) -> None:
        self._wanted = sorted(self.random.sample(sorted(KINDS), 2))
        self._seconds = self.random.randrange(40_000, 50_000)

    def task(self) -> str:
        first, second = (KINDS[kind] for kind in self._wanted)
        return (
            f"Have `sleep {self._seconds}` run with {first} and {second} namespace of its own, and "
            "let it share all others with this notebook. (Without root, a user namespace comes "
            "along; that one is allowed.)"
        )

    def look(self) -> Verdict:
        command = f"sleep {self._seconds}"
        found = [each.pid for each in processes() if each.command == command and _sleeps(each.pid)]
        if len(found) != 1:
            return Verdict(False, f"`{command}` runs {len(found)} times; once is asked for.")
        ours = namespaces()
        theirs: dict[str, int] = {}
        with suppress(ProcessGone):
            theirs = namespaces(found[0])
        own = sorted(kind for kind in theirs if theirs[kind] != ours[kind] and kind != "user")
        its = f"its own {' and '.join(own)}" if own else "no namespace of its own"
        saw = f"process {found[0]} has {its}"
        if missing := sorted(set(self._wanted) - set(own)):
            return Verdict(False, f"{saw}; it shares {' and '.join(missing)} with this notebook.")
        if more := sorted(set(own) - set(self._wanted)):
            were = "were" if more[1:] else "was"
            return Verdict(False, f"{saw}; {' and '.join(more)} {were} not asked for.")
        return Verdict(True, f"{saw}, and shares all other kinds with this notebook.")

    def answer(self) -> str:
        first, second = self._wanted
        return (
            "from labsupport import Sandbox\n\n"
            f'exercise.box = Sandbox(new={{"{first}", "{second}"}}).open()\n'
            f'exercise.box.start(["sleep", "{self._seconds}"])'
        )


def _sleeps(pid: int) -> bool:
    """Tell whether it is the program `sleep`, and not another one that goes by its name."""
    with suppress(OSError):
        return Path(os.readlink(f"/proc/{pid}/exe")).name in SLEEPERS
    return True  # not ours to read


def _listed(pids: Sequence[int]) -> str:
    *others, last = map(str, pids)
    return f"{', '.join(others)} and {last}" if others else last
