"""The exercises of notebook 06, control groups."""

import os
import sys
import time
from contextlib import suppress

from labsupport.cgroup import dangers
from labsupport.cgroup.files import has_swap
from labsupport.cgroup.group import Cgroup
from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.errors import LabError
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

MIB = 1 << 20
STEP = 4 * MIB  # what the interpreter itself takes differs by less than that
MEASURED_SECONDS = 1.5
TOLERANCE = 0.3  # CPU time is shared out in slices, and others run as well
BOMB_SECONDS = 120


class SmallestMemory(Exercise):
    """Find the smallest limit under which a program still runs."""

    name = "06.1"
    hints = (
        "Try limits: in Cgroup(memory=..., swap=0), run the program with "
        "Sandbox(cgroup=group).run(exercise.argv). If its returncode is -9, the kernel has killed "
        "it. Halve the distance each time.",
        "Quicker: run it once under a generous limit, and ask the kernel for the most it took: "
        "group.usage().memory_peak_bytes. Round up to a multiple of 4M. The kernel could have "
        "taken some of that back (cached files): try 4M less as well, until it is killed.",
    )

    group: object = None

    def begin(self) -> None:
        amount = self.random.randrange(16, 72, 4) * MIB + MIB // 2
        fill = f"block = b'x' * {amount}; print('done')"
        self._argv = (sys.executable, "-I", "-S", "-c", fill)
        self.argv = [*self._argv]
        self.ends.callback(self._close_group)

    def _close_group(self) -> None:
        if isinstance(self.group, Cgroup):
            self.group.close()
        self.group = None

    def task(self) -> str:
        return (
            "`exercise.argv` is a program that takes some memory, prints `done` and ends. Find the "
            "smallest limit, a multiple of 4M, under which it still does. Set `exercise.group` to "
            "an open Cgroup with that limit and without swap."
        )

    def look(self) -> Verdict:
        group = self.group
        if not isinstance(group, Cgroup) or group._files is None:
            return Verdict(False, "`exercise.group` is not an open Cgroup yet.")
        limits = group.limits
        if limits.memory_bytes is None:
            return Verdict(False, "the kernel says that the group's memory is not limited.")
        said = f"with {limits.memory_bytes / MIB:g} MiB"
        if limits.memory_bytes % STEP:
            return Verdict(False, f"{said}: that is not a multiple of 4M.")
        if limits.swap_bytes != 0 and has_swap():
            return Verdict(False, "the group may swap, so the program would be slow instead of "
                                  "killed: set swap=0.")  # fmt: skip
        return self._tried(group, limits.memory_bytes, said)

    def _tried(self, group: Cgroup, limit: int, said: str) -> Verdict:
        if not self._survives(group):
            return Verdict(False, f"{said} the kernel kills it.")
        with Cgroup(memory=limit - STEP, swap=0 if has_swap() else None) as less:
            survives_less = self._survives(less)
        if survives_less:
            return Verdict(False, f"{said} it runs, and with 4 MiB less it still does.")
        return Verdict(True, f"{said} it runs, and with 4 MiB less the kernel kills it.")

    def _survives(self, group: Cgroup) -> bool:
        with Sandbox(new={"pid"}, cgroup=group) as box:
            return box.run(self._argv).stdout == "done\n"

    def answer(self) -> str:
        return (
            "from labsupport import Cgroup, Sandbox\n\n"
            'with Cgroup(memory="256M") as roomy, Sandbox(cgroup=roomy) as box:\n'
            "    box.run(exercise.argv)\n"
            "    peak = roomy.usage().memory_peak_bytes\n"
            "step = 4 << 20\n"
            "limit = -(-peak // step) * step\n"
            "def runs(limit):\n"
            "    with Cgroup(memory=limit) as group, Sandbox(cgroup=group) as box:\n"
            "        return box.run(exercise.argv).returncode == 0\n"
            "while runs(limit - step):  # what could be freed in time is also in the peak\n"
            "    limit -= step\n"
            "exercise.group = Cgroup(memory=limit, swap=0).open()"
        )


class ShareTheCpu(Exercise):
    """Give two groups CPU time in a ratio."""

    name = "06.2"
    hints = (
        "A quota says how much at most, a weight how much compared with the neighbours. Every "
        "group begins with the weight 100.",
        "exercise.first keeps its 100; exercise.second.set(cpu_weight=...) gets as many times that "
        "as it should have CPU time.",
    )

    def begin(self) -> None:
        self._ratio = self.random.choice([2, 3, 4, 5])
        self._groups = [self.ends.enter_context(Cgroup(cpu_weight=100)) for _ in range(2)]
        self.first, self.second = self._groups

    def task(self) -> str:
        return (
            "`exercise.first` and `exercise.second` are two groups. When both compute without "
            f"end, the second should get {self._ratio} times as much CPU time as the first, and "
            "together they should use all CPUs. (The check starts the burners itself.)"
        )

    def look(self) -> Verdict:
        first, second = self._measure()
        weights = " : ".join(str(group.limits.cpu_weight) for group in self._groups)
        got = second / first
        said = f"weights {weights}, measured 1 : {got:.1f} ({first:.2f} s and {second:.2f} s)"
        if abs(got / self._ratio - 1) > TOLERANCE:
            return Verdict(False, f"{said}, wanted 1 : {self._ratio}.")
        if any(group.limits.cpu is not None for group in self._groups):
            return Verdict(False, f"{said}, but a quota is set, which can leave CPUs idle.")
        return Verdict(True, f"{said}.")

    def _measure(self) -> tuple[float, float]:
        """Return the CPU seconds that each group got while both wanted all CPUs."""
        groups = self._groups
        count = len(os.sched_getaffinity(0))
        burners = [dangers.burner(group, count, unlimited=True, seconds=10) for group in groups]
        try:
            time.sleep(0.2)  # until all of them run
            before = [group.usage().cpu_seconds or 0.0 for group in groups]
            time.sleep(MEASURED_SECONDS)
            after = [group.usage().cpu_seconds or 0.0 for group in groups]
        finally:
            for burner in burners:
                burner.stop()
        first, second = (end - begin for begin, end in zip(before, after, strict=True))
        return max(first, 1e-3), second

    def answer(self) -> str:
        return f"exercise.second.set(cpu_weight={100 * self._ratio})"


class StopTheBomb(Exercise):
    """End a fork bomb that is running, and nothing else."""

    name = "06.3"
    moment = 0.5
    hints = (
        "cat FOLDER/pids.current of each: the bomb's is the fullest. Killing one PID after the "
        "other is slower than the bomb forks (unless you hit its first, PID 1 of a namespace of "
        "its own, which takes all with it). Its group holds all of them.",
        "v2: echo 1 > FOLDER/cgroup.kill. v1 has no such file: forbid new ones first "
        "(echo 0 > FOLDER/pids.max), then kill -9 $(cat FOLDER/cgroup.procs).",
    )

    def begin(self) -> None:
        parent = self.ends.enter_context(Cgroup(pids=100, cpu=0.5))
        names = self.random.sample(["red", "green", "blue", "black", "white"], 3)
        self.groups = {
            name: parent.child(name, pids=self.random.randrange(20, 32)).open() for name in names
        }
        self._groups = {**self.groups}
        self._where = self.random.choice(names)
        boxes = [
            self.ends.enter_context(Sandbox(new={"pid"}, cgroup=group))
            for name, group in self._groups.items()
            if name != self._where
        ]
        self._others: list[Process] = [
            box.start(["sleep", "3600"]) for box in boxes for _ in range(2)
        ]
        self._bomb = dangers.bomb(self._groups[self._where], seconds=BOMB_SECONDS)
        self.ends.callback(self._bomb.stop)
        self.ends.callback(self._thaw)

    def _thaw(self) -> None:
        for group in self._groups.values():
            with suppress(LabError):  # it was closed
                group.thaw()  # in v1, what is frozen cannot end

    def task(self) -> str:
        folders = ", ".join(f"`{group.folders['pids']}`" for group in self.groups.values())
        return (
            "A fork bomb is going off in one of these groups; the others hold programs that "
            f"somebody needs: {folders}. End the bomb, all of it, and let the others live, where "
            "they are. (It ends by itself after two minutes, which does not count.) Commands are "
            "enough; `exercise.groups` has the groups for Python."
        )

    def look(self) -> Verdict:
        if harm := self._harm():
            return Verdict(False, f"{harm} {AGAIN}")
        bomb = self._groups[self._where]
        if left := len(bomb.processes()):
            still = " (frozen, but they still take the group's places)" if bomb.frozen else ""
            return Verdict(False, f"the bomb still has {left} processes{still}.")
        if self._bomb.returncode is None:
            return Verdict(False, "the bomb has left its group, and goes on elsewhere.")
        return Verdict(True, f"the bomb in {self._where} has no process left, and all others live.")

    def _harm(self) -> str:
        """Say what cannot be made good."""
        innocent = [group for name, group in self._groups.items() if name != self._where]
        there = {pid for group in innocent for pid in group.processes()}
        alive = sum(other.pid in there for other in self._others)
        if alive < len(self._others):
            return f"only {alive} of the {len(self._others)} others still run where they did."
        if any(group.frozen for group in innocent):
            return "the other programs are frozen: they do not run."
        if self._bomb.returncode == 0:
            return "the two minutes are over, and the bomb has ended by itself."
        return ""

    def answer(self) -> str:
        return (
            "fullest = max(exercise.groups.values(), key=lambda group: group.usage().pids)\n"
            "fullest.kill()"
        )
