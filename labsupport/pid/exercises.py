"""The exercises of notebook 02, process IDs."""

import sys
from contextlib import suppress

from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.errors import LabError, ProcessGone
from labsupport.kernel.procfs import processes, status
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

STOPPED = "T"
WAITS = """
import signal
wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("waits", flush=True)
told = signal.sigwaitinfo(wanted)
print(signal.Signals(told.si_signo).name, told.si_pid, flush=True)
"""
"""A program that says which signal it got, and from which PID; sigwaitinfo(2)."""


class EndOneFromOutside(Exercise):
    """Translate a number inside to the one on the host, and act on it."""

    name = "02.1"
    moment = 0.5
    hints = (
        "The line NSpid of /proc/PID/status has all numbers of a process: that on the host first, "
        "that inside last. processes(of=exercise.box) reads it for all that are in there: .pids.",
        "Find the process whose pids[-1] is the wanted number, and send SIGTERM to its pids[0]: "
        "with kill in a terminal, or os.kill here.",
    )

    def begin(self) -> None:
        self.box = Sandbox(new={"pid", "mount"}).open()
        self.box.start(["sleep", "7200"])
        program = [sys.executable, "-I", "-S", "-c", WAITS]
        self._waiting = [self.box.start(program) for _ in range(5)]
        for each in self._waiting:
            each.expect("waits")
        self._wanted: Process = self.random.choice(self._waiting)
        self._number = self._wanted.pids[-1]

    def task(self) -> str:
        return (
            "In the sandbox `exercise.box` six programs run; on the host, its PID 1 is process "
            f"{self.box.pid}. From out here, send SIGTERM to the one that is PID {self._number} in "
            f"there, and to no other. (`kill {self._number}` would hit somebody else on the host, "
            "or nobody.) Commands are enough: a `%%shell` cell, or a terminal."
        )

    def look(self) -> Verdict:
        try:
            alive = sorted(process.pids[-1] for process in processes(of=self.box))
        except LabError:  # the student has closed it
            alive = []
        if not alive:
            saw = "nothing runs in the sandbox any more: PID 1 has ended, and with it all others."
            return Verdict(False, f"{saw} {AGAIN}")
        others = [each for each in self._waiting if each is not self._wanted]
        if any(each.returncode is not None for each in others):
            saw = f"others have ended, too: only {alive} are left in there."
            return Verdict(False, f"{saw} {AGAIN}")
        if self._wanted.returncode is None:
            saw = f"all of {alive} still run in there, PID {self._number} among them."
            with suppress(ProcessGone):  # that is not yet told
                if status(self._wanted.pid).state == STOPPED:
                    saw = f"PID {self._number} is stopped, and could go on at any moment (SIGCONT)."
            return Verdict(False, saw)
        return self._judge_sender(self._wanted.output.split()[1:])

    def _judge_sender(self, told: list[str]) -> Verdict:
        who = f"PID {self._number}"
        if not told:
            saw = f"{who} {self._wanted.ending}, and could not say who sent it; send SIGTERM."
            return Verdict(False, f"{saw} {AGAIN}")
        name, sender = told
        if name != "SIGTERM":
            return Verdict(False, f"{who} got {name}, not SIGTERM. {AGAIN}")
        if sender != "0":
            saw = f"{who} got SIGTERM from PID {sender}, which is inside, too."
            return Verdict(False, f"{saw} Send it from out here. {AGAIN}")
        saw = "from “PID 0”: that is what the kernel calls a sender whom nobody inside can see."
        return Verdict(True, f"{who} got SIGTERM {saw}")

    def answer(self) -> str:
        return (
            "import os, signal\n"
            "from labsupport import processes\n\n"
            f"[it] = [p for p in processes(of=exercise.box) if p.pids[-1] == {self._number}]\n"
            "os.kill(it.pids[0], signal.SIGTERM)"
        )


class Nest(Exercise):
    """Make nested PID namespaces."""

    name = "02.2"
    moment = 1.0
    hints = (
        "A process in a new PID namespace can make another one: run unshare(1) inside a Sandbox.",
        'unshare --pid --fork --mount-proc PROGRAM makes one level. Sandbox(new={"pid", "mount"}) '
        "is the first level; start unshare in it, and another in that for each further one.",
    )

    def begin(self) -> None:
        self._depth = self.random.choice([2, 3])
        self.seconds = self.random.randrange(20_000, 30_000)
        self._own_depth = len(status().pids)

    def task(self) -> str:
        return (
            f"Have a program `sleep {self.seconds}` run that is PID 1 of a PID namespace "
            f"{self._depth} levels below this one. It then has {self._depth + 1} numbers. "
            "(A terminal is a good place for it: `Terminal()`.)"
        )

    def look(self) -> Verdict:
        command = f"sleep {self.seconds}"
        found = [process for process in processes() if process.command == command]
        if not found:
            return Verdict(False, f"no process runs `{command}`.")
        if len(found) > 1:
            return Verdict(False, f"{len(found)} processes run `{command}`; one is wanted.")
        [deepest] = found
        levels = len(deepest.pids) - self._own_depth
        pids = ", ".join(map(str, deepest.pids))
        numbers = f"`{command}` has the numbers {pids} (outermost first)"
        if levels != self._depth:
            return Verdict(False, f"{numbers}: it lives {levels} levels below, not {self._depth}.")
        if deepest.pids[-1] != 1:
            return Verdict(False, f"{numbers}: innermost it is PID {deepest.pids[-1]}, not 1.")
        return Verdict(True, f"{numbers}.")

    def answer(self) -> str:
        inner = ['"unshare", "--pid", "--fork", "--mount-proc"'] * (self._depth - 1)
        argv = ", ".join([*inner, f'"sleep", "{self.seconds}"'])
        return (
            "from labsupport import Sandbox\n\n"
            'mine = Sandbox(new={"pid", "mount"}).open()\n'
            f"mine.start([{argv}])"
        )
