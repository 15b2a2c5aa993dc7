"""The exercises of notebook 01: tell contained processes from others, and build walls to order."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import ProcessGone, TimedOut
from labsupport.linux.process import Process
from labsupport.linux.procfs import namespaces, processes
from labsupport.linux.sandbox import Sandbox

MOMENT_SECONDS = 0.1
KINDS = ("pid", "mount", "uts", "ipc")


class TellThemApart(Exercise):
    """Five alike programs: end those that share all their namespaces with this notebook."""

    name = "01.1"
    moment = 0.5
    hints = (
        "namespaces(PID) tells a process's namespaces, namespaces() this notebook's. "
        "exercise.pids are the five to look at.",
        "Whoever has namespaces(pid) == namespaces() is an ordinary process here: "
        "os.kill(pid, signal.SIGTERM) ends it.",
    )

    _writing = -1

    def begin(self) -> None:
        """Start five programs, some of them in a sandbox, in an order of the seed's."""
        self.boxes: list[Sandbox] = []
        self.plain: dict[int, subprocess.Popen[bytes]] = {}
        contained = self.random.choice([2, 3])
        # `cat` ends with its input: at the latest with this notebook
        reading, self._writing = os.pipe()
        kinds = ["contained"] * contained + ["plain"] * (5 - contained)
        self.random.shuffle(kinds)
        self.contained: dict[int, Process] = {}
        self.pids: list[int] = []
        for kind in kinds:
            if kind == "plain":
                process = subprocess.Popen(["cat"], stdin=reading)
                self.plain[process.pid] = process
                self.pids.append(process.pid)
            else:
                self.boxes.append(Sandbox(new=set(self._walls())).open())
                inside = self.boxes[-1].start(["cat"], stdin=reading)
                self.contained[inside.pid] = inside
                self.pids.append(inside.pid)
        os.close(reading)

    def _walls(self) -> list[str]:
        return ["uts", *self.random.sample(["ipc", "mount"], self.random.choice([0, 1]))]

    def task(self) -> str:
        """The task, with the numbers."""
        return (
            f"Five processes run: {', '.join(map(str, self.pids))}. Some live in namespaces of "
            "their own, the others are ordinary processes like any on this machine. End the "
            "ordinary ones, and leave the contained ones alone."
        )

    def look(self) -> Verdict:
        """See who still runs, and in which namespaces."""
        ours = namespaces()
        alive = {pid: own for pid in self.pids if (own := self._namespaces(pid))}
        ordinary = [pid for pid, own in alive.items() if own == ours]
        contained = [pid for pid, own in alive.items() if own != ours]
        if lost := sorted(set(self.contained) - set(contained)):
            return Verdict(False, f"{_listed(lost)} lived in namespaces apart, and ended. "
                                  "Start again with exercise.start().")  # fmt: skip
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
            (self.plain.get(pid) or self.contained[pid]).wait(MOMENT_SECONDS)
        except (subprocess.TimeoutExpired, TimedOut):
            with suppress(ProcessGone):
                return namespaces(pid)
        return None

    def answer(self) -> str:
        """One way to do it."""
        return (
            "import os, signal\n"
            "from labsupport import namespaces\n\n"
            "for pid in exercise.pids:\n"
            "    if namespaces(pid) == namespaces():\n"
            "        os.kill(pid, signal.SIGTERM)\n"
            "        exercise.plain[pid].wait()"
        )

    def stop(self) -> None:
        """End all five."""
        super().stop()
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1
        for process in getattr(self, "plain", {}).values():
            process.wait()
        for box in getattr(self, "boxes", []):
            box.close()


class WallsToOrder(Exercise):
    """Run a program with exactly the walls that are asked for."""

    name = "01.2"
    hints = (
        "Each kind of namespace can be had by itself: Sandbox(new={...}) makes just these.",
        'exercise.box = Sandbox(new={"uts", "ipc"}).open(), then exercise.box.start([...]).',
    )

    def begin(self) -> None:
        """Choose two kinds, and a number of seconds that nobody else sleeps."""
        self.wanted = sorted(self.random.sample(KINDS, 2))
        self.seconds = self.random.randrange(40_000, 50_000)

    def task(self) -> str:
        """The task, with kinds and duration."""
        return (
            f"Have `sleep {self.seconds}` run with a {self.wanted[0]} and a {self.wanted[1]} "
            "namespace of its own, and let it share all others with this notebook. (Without root a "
            "user namespace comes along; that one is allowed.)"
        )

    def look(self) -> Verdict:
        """Find it, and compare its namespaces with ours."""
        command = f"sleep {self.seconds}"
        found = [process.pid for process in processes() if process.command == command]
        if len(found) != 1:
            return Verdict(False, f"`{command}` runs {len(found)} times; once is asked for.")
        ours = namespaces()
        theirs: dict[str, int] = {}
        with suppress(ProcessGone):
            theirs = namespaces(found[0])
        own = sorted(kind for kind in theirs if theirs[kind] != ours[kind] and kind != "user")
        saw = f"process {found[0]} has its own {' and '.join(own) or 'nothing'}"
        if missing := sorted(set(self.wanted) - set(own)):
            return Verdict(False, f"{saw}; it shares {' and '.join(missing)} with this notebook.")
        if more := sorted(set(own) - set(self.wanted)):
            return Verdict(False, f"{saw}; {' and '.join(more)} was not asked for.")
        return Verdict(True, f"{saw}, and shares all other kinds with this notebook.")

    def answer(self) -> str:
        """One way to do it."""
        first, second = self.wanted
        return (
            "from labsupport import Sandbox\n\n"
            f'exercise.box = Sandbox(new={{"{first}", "{second}"}}).open()\n'
            f'exercise.box.start(["sleep", "{self.seconds}"])'
        )


def _listed(pids: list[int]) -> str:
    return " and ".join(map(str, pids))


EXERCISES: dict[str, type[Exercise]] = {
    TellThemApart.name: TellThemApart,
    WallsToOrder.name: WallsToOrder,
}
"""By number."""
