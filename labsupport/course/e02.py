"""The exercises of notebook 02, process IDs."""

from __future__ import annotations

from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import ProcessGone
from labsupport.linux.process import Process
from labsupport.linux.procfs import processes, status
from labsupport.linux.sandbox import Sandbox

STOPPED = "T"


class EndOneFromOutside(Exercise):
    """Translate a number inside to the one on the host, and act on it."""

    name = "02.1"
    moment = 0.5
    hints = (
        "processes(of=exercise.box) lists the processes in the sandbox. "
        "Each has .pids: its number on the host first, its number inside last.",
        "Find the process whose pids[-1] is the wanted number, and send SIGKILL to its pids[0] "
        "with os.kill.",
    )

    def begin(self) -> None:
        """Start a PID 1 and five programs beside it; choose one of them."""
        self.box = Sandbox(new={"pid", "mount"}).open()
        self.box.start(["sleep", "7200"])
        self.started = [self.box.start(["sleep", "3600"]) for _ in range(5)]
        self.wanted: Process = self.random.choice(self.started)
        self.number = self.wanted.pids[-1]

    def task(self) -> str:
        """The task, with the chosen number."""
        return (
            "In the sandbox exercise.box six programs run. From here, outside, end the one that is "
            f"PID {self.number} in there, and no other. (kill with the number {self.number} would "
            "hit somebody else on the host, or nobody.)"
        )

    def look(self) -> Verdict:
        """See who still runs."""
        alive = sorted(process.pids[-1] for process in processes(of=self.box))
        if not alive:
            return Verdict(False, "nothing runs in the sandbox any more: PID 1 has ended, and with "
                                  "it all others. Start again with exercise.start().")  # fmt: skip
        others = [each for each in self.started if each is not self.wanted]
        if any(each.returncode is not None for each in others):
            return Verdict(False, f"others have ended, too: only {alive} are left in there. "
                                  "Start again with exercise.start().")  # fmt: skip
        if self.wanted.returncode is None:
            if self._is_stopped():
                return Verdict(False, f"PID {self.number} is stopped, and could go on at any "
                                      "moment: it has not ended.")  # fmt: skip
            return Verdict(
                False, f"all of {alive} still run in there, PID {self.number} among them."
            )
        return Verdict(True, f"PID {self.number} has ended, and {alive} still run.")

    def _is_stopped(self) -> bool:
        try:
            return status(self.wanted.pid).state == STOPPED
        except ProcessGone:  # that is not yet told
            return False

    def answer(self) -> str:
        """One way to do it."""
        return (
            "import os, signal\n"
            "from labsupport import processes\n\n"
            f"[it] = [p for p in processes(of=exercise.box) if p.pids[-1] == {self.number}]\n"
            "os.kill(it.pids[0], signal.SIGKILL)"
        )


class Nest(Exercise):
    """Make nested PID namespaces."""

    name = "02.2"
    hints = (
        "A process in a new PID namespace can make another one: run unshare(1) inside a Sandbox.",
        'unshare --pid --fork --mount-proc PROGRAM makes one level. Sandbox(new={"pid", "mount"}) '
        "is the first level; start unshare in it, and another in that for each further one.",
    )

    def begin(self) -> None:
        """Choose a depth and a number of seconds that nobody else sleeps."""
        self.depth = self.random.choice([2, 3])
        self.seconds = self.random.randrange(20_000, 30_000)
        self.own_depth = len(status().pids)

    def task(self) -> str:
        """The task, with depth and duration."""
        return (
            f"Have a program `sleep {self.seconds}` run that is PID 1 of a PID namespace "
            f"{self.depth} levels below this one. It then has {self.depth + 1} numbers."
        )

    def look(self) -> Verdict:
        """See whether there is such a process, how deep it lives, and its number there."""
        command = f"sleep {self.seconds}"
        found = [process for process in processes() if process.command == command]
        if not found:
            return Verdict(False, f"no process runs `{command}`.")
        deepest = max(found, key=lambda process: len(process.pids))
        levels = len(deepest.pids) - self.own_depth
        numbers = (
            f"`{command}` has the numbers {', '.join(map(str, deepest.pids))} (outermost first)"
        )
        if levels != self.depth:
            return Verdict(False, f"{numbers}: it lives {levels} levels below, not {self.depth}.")
        if deepest.pids[-1] != 1:
            return Verdict(False, f"{numbers}: innermost it is PID {deepest.pids[-1]}, not 1.")
        return Verdict(True, f"{numbers}.")

    def answer(self) -> str:
        """One way to do it."""
        inner = ['"unshare", "--pid", "--fork", "--mount-proc"'] * (self.depth - 1)
        argv = ", ".join([*inner, f'"sleep", "{self.seconds}"'])
        return (
            "from labsupport import Sandbox\n\n"
            'mine = Sandbox(new={"pid", "mount"}).open()\n'
            f"mine.start([{argv}])"
        )


EXERCISES: dict[str, type[Exercise]] = {each.name: each for each in (EndOneFromOutside, Nest)}
