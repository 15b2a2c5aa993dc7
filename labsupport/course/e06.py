"""The exercises of notebook 06, control groups."""

from __future__ import annotations

import os
import sys
import time

from labsupport.course.exercises import Exercise, Verdict
from labsupport.linux import dangers
from labsupport.linux.cgroup.controllers import has_swap
from labsupport.linux.cgroups import Cgroup
from labsupport.linux.dangers import Danger
from labsupport.linux.process import Process
from labsupport.linux.sandbox import Sandbox

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
        "Quicker: run it once under a generous limit, and ask the kernel how much it really took: "
        "group.usage().memory_peak_bytes. Then round up to the next multiple of 4M.",
    )

    def begin(self) -> None:
        """Choose how much memory the program takes."""
        amount = self.random.randrange(16, 72, 4) * MIB + MIB // 2
        fill = f"block = b'x' * {amount}; print('done')"
        self.argv = [sys.executable, "-I", "-S", "-c", fill]
        self.group: Cgroup | None = None

    def stop(self) -> None:
        """Close the group that was handed in."""
        super().stop()
        if getattr(self, "group", None) is not None:
            assert self.group  # noqa: S101 (for the type checker)
            self.group.close()

    def task(self) -> str:
        """The task."""
        return (
            "`exercise.argv` is a program that takes some memory, prints `done` and ends. Find the "
            "smallest limit, a multiple of 4M, under which it still does. Set `exercise.group` to "
            "an open Cgroup with that limit and without swap."
        )

    def look(self) -> Verdict:
        """Run the program under the limit that the kernel has, and under 4 MiB less."""
        if self.group is None:
            return Verdict(False, "`exercise.group` is not set yet.")
        limits = self.group.limits
        if limits.memory_bytes is None:
            return Verdict(False, "the kernel says that the group's memory is not limited.")
        if limits.swap_bytes != 0 and has_swap():
            return Verdict(False, "the group may swap, so the program would be slow instead of "
                                  "killed: set swap=0.")  # fmt: skip
        said = f"with {limits.memory_bytes / MIB:g} MiB"
        if not self._survives(self.group):
            return Verdict(False, f"{said} the kernel kills it.")
        with Cgroup(memory=limits.memory_bytes - STEP, swap=0 if has_swap() else None) as less:
            survives_less = self._survives(less)
        if survives_less:
            return Verdict(False, f"{said} it runs, and so it does with 4 MiB less.")
        return Verdict(True, f"{said} it runs, and with 4 MiB less the kernel kills it.")

    def _survives(self, group: Cgroup) -> bool:
        with Sandbox(new={"pid"}, cgroup=group) as box:
            return box.run(self.argv).stdout == "done\n"

    def answer(self) -> str:
        """One way to do it."""
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
            "while runs(limit - step):  # what could be freed in time is in the peak, too\n"
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
        "as it shall have CPU time.",
    )

    def begin(self) -> None:
        """Make two groups side by side, and choose the ratio."""
        self.ratio = self.random.choice([2, 3, 4, 5])
        self.first, self.second = Cgroup(cpu_weight=100).open(), Cgroup(cpu_weight=100).open()

    def stop(self) -> None:
        """Close both groups."""
        super().stop()
        for name in ("first", "second"):
            if group := getattr(self, name, None):
                group.close()

    def task(self) -> str:
        """The task, with the ratio."""
        return (
            "`exercise.first` and `exercise.second` are two groups. When both compute without "
            f"end, the second shall get {self.ratio} times as much CPU time as the first, and "
            "together they shall use all CPUs. (The check starts the burners itself.)"
        )

    def look(self) -> Verdict:
        """Have both compute, and count the seconds that each got."""
        first, second = self._measure()
        weights = f"weights {self.first.limits.cpu_weight} : {self.second.limits.cpu_weight}"
        got = second / first
        said = f"{weights}, measured 1 : {got:.1f} ({first:.2f} s and {second:.2f} s)"
        if abs(got / self.ratio - 1) > TOLERANCE:
            return Verdict(False, f"{said}, wanted 1 : {self.ratio}.")
        if any(group.limits.cpu is not None for group in (self.first, self.second)):
            return Verdict(False, f"{said}, but a quota is set: it leaves CPUs idle.")
        return Verdict(True, f"{said}.")

    def _measure(self) -> tuple[float, float]:
        """Return the CPU seconds that each group got while both wanted all CPUs."""
        groups = (self.first, self.second)
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
        """One way to do it."""
        return f"exercise.second.set(cpu_weight={100 * self.ratio})"


class StopTheBomb(Exercise):
    """End a fork bomb that is running, and nothing else."""

    name = "06.3"
    moment = 0.5
    hints = (
        "Ask each group what it uses: exercise.groups[name].usage().pids. Killing PID after PID is "
        "slower than the bomb forks; but its group holds all of them.",
        "Find the group with the most tasks, and call its kill(). It is what "
        "`echo 1 > cgroup.kill` does (v2), or freezing, killing and thawing (v1).",
    )

    def begin(self) -> None:
        """Start a bomb in one of three groups, and honest programs in the others."""
        self.bomb: Danger | None = None
        self.parent = Cgroup(pids=100, cpu=0.5).open()
        names = self.random.sample(["red", "green", "blue", "black", "white"], 3)
        self.groups = {
            name: self.parent.child(name, pids=self.random.randrange(20, 32)).open()
            for name in names
        }
        self.where = self.random.choice(names)
        self.boxes = {
            name: Sandbox(new={"pid"}, cgroup=self.groups[name]).open()
            for name in names
            if name != self.where
        }
        self.siblings: list[Process] = [
            box.start(["sleep", "3600"]) for box in self.boxes.values() for _ in range(2)
        ]
        self.bomb = dangers.bomb(self.groups[self.where], seconds=BOMB_SECONDS)

    def stop(self) -> None:
        """End all of it."""
        super().stop()
        if not hasattr(self, "parent"):
            return
        if getattr(self, "bomb", None):
            assert self.bomb  # noqa: S101 (for the type checker)
            self.bomb.stop()
        for box in getattr(self, "boxes", {}).values():
            box.close()
        self.parent.close()

    def task(self) -> str:
        """The task, with the groups' names."""
        return (
            f"`exercise.groups` are three groups, {', '.join(self.groups)}. In one of them a fork "
            "bomb is going off, in the others programs run that somebody needs. End the bomb, all "
            "of it, and let the others live. (It ends of itself after two minutes, which does not "
            "count.)"
        )

    def look(self) -> Verdict:
        """See who still runs in which group."""
        assert self.bomb  # noqa: S101 (`begin` has started it)
        left = len(self.groups[self.where].processes())
        there = {pid for name in self.boxes for pid in self.groups[name].processes()}
        alive = sum(sibling.pid in there for sibling in self.siblings)
        if alive < len(self.siblings):
            return Verdict(False, f"only {alive} of the {len(self.siblings)} other programs still "
                                  "run. Start again with exercise.start().")  # fmt: skip
        if self.bomb.returncode == 0:
            return Verdict(False, "the two minutes were over and the bomb has ended of itself. "
                                  "Start again with exercise.start().")  # fmt: skip
        if left:
            frozen = " (frozen, but they still take the group's places)"
            still = frozen if self.groups[self.where].frozen else ""
            return Verdict(False, f"the bomb still has {left} processes{still}.")
        return Verdict(
            True, f"the bomb in {self.where} has no process left, and all {alive} others live."
        )

    def answer(self) -> str:
        """One way to do it."""
        return (
            "fullest = max(exercise.groups.values(), key=lambda group: group.usage().pids)\n"
            "fullest.kill()"
        )


EXERCISES: dict[str, type[Exercise]] = {
    each.name: each for each in (SmallestMemory, ShareTheCpu, StopTheBomb)
}
