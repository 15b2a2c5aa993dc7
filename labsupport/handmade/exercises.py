"""The exercises of notebook 08, build a container: each is judged by trying, or by what runs."""

import os
import shlex
from collections.abc import Collection
from typing import ClassVar

from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import StepFailed
from labsupport.handmade import building as by_hand
from labsupport.handmade.breakouts import Host, Light
from labsupport.handmade.building import Step
from labsupport.handmade.workshop import Workshop
from labsupport.kernel.capabilities import CapabilitySets, capabilities
from labsupport.kernel.procfs import ProcessSnapshot, namespaces, processes
from labsupport.sandbox.sandbox import Sandbox
from labsupport.seccomp.filter import Filter
from labsupport.seccomp.syscall_table import numbers

KEPT = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SETFCAP")
DENIED = ("unshare", "setns", "mount", "umount2", "pivot_root", "ptrace", "reboot", "keyctl")
RING = ("io_uring_setup", "io_uring_enter", "io_uring_register")
# own_cgroup needs a control group, which not every place has
STEPS = tuple(step for step in by_hand.STEPS if step is not by_hand.own_cgroup)
FROM = "from labsupport.handmade.building import {}\n"


class _InAWorkshop(Exercise):
    """What the exercises with steps share: a workshop of their own, and a filter."""

    def begin(self) -> None:
        self.workshop = self.ends.enter_context(Workshop())
        self.workshop.kept = KEPT
        self.filter = self.workshop.filter = Filter.deny(DENIED)
        self.steps: list[Step] = list(STEPS)


class Missing(_InAWorkshop):
    """One step has been left out; the way out that it closed is open."""

    name = "08.1"
    hints = (
        "Read the evidence: what of the host's was reached? "
        "[step.__name__ for step in exercise.steps] tells which steps are there.",
        "Your own functions from above are steps, too. Put the one that is missing where the "
        "kernel accepts it: exercise.steps.insert(PLACE, own_…).",
    )
    LEFT_OUT: ClassVar = {
        by_hand.own_network: "net",
        by_hand.own_name: "uts",
        by_hand.few_capabilities: "capabilities",
        by_hand.own_filter: "seccomp",
    }

    def begin(self) -> None:
        super().begin()
        self._host = Host(self.workshop)
        self._missing = self.random.choice(list(self.LEFT_OUT))
        self.steps.remove(self._missing)
        self._way = self.LEFT_OUT[self._missing]

    def task(self) -> str:
        light = self._host.try_all(self.steps)[self._way]
        return (
            f"A container was built from exercise.steps, but `{light.attempt}` worked: "
            f"{light.evidence}. Add the step that is missing, at a place where it works. "
            "The check builds it again and tries every way out."
        )

    def look(self) -> Verdict:
        try:
            found = self._host.try_all(self.steps)
        except StepFailed as failure:
            return Verdict(False, f"there is no container. {failure}")
        light = found[self._way]
        if not light.held:
            return Verdict(False, f"`{light.attempt}` still works: {light.evidence}.")
        if found.lent:
            return Verdict(False, f"your line is still missing in {', '.join(found.lent)}.")
        # without a control group, the swarm is never kept in
        out: list[Light] = [each for each in found if not each.held and each.name != "cgroup"]
        if out:
            return Verdict(False, f"that is closed, but now {out[0].words}: {out[0].evidence}.")
        return Verdict(True, f"`{light.attempt}` is kept in: {light.evidence}.")

    def answer(self) -> str:
        name, place = self._missing.__name__, STEPS.index(self._missing)
        return FROM.format(name) + f"\nexercise.steps.insert({place}, {name})"


class ByCommands(Exercise):
    """A small container by commands alone, found and judged among what runs on the stage."""

    name = "08.2"
    moment = 1.0
    hints = (
        "unshare(1) makes the namespaces and a fresh /proc, and forks; setpriv(1) takes privileges "
        "away and starts the program. Between them, a shell can set the name: "
        "unshare … sh -c 'hostname …; exec setpriv … sleep …' &",
        "unshare has --pid --fork --mount-proc --uts, and more; setpriv has --no-new-privs, "
        "--inh-caps=-all and --bounding-set=-all,+NAME.",
    )

    def begin(self) -> None:
        self.box = self.stage = Sandbox(new={"pid", "mount", "net", "uts", "ipc"}).open()
        self._own = {"pid", "mount", "uts", self.random.choice(["ipc", "net"])}
        self._host_name = f"box-{self.random.randrange(100, 1000)}"
        self._seconds = str(self.random.randrange(5000, 9000))
        self._kept = self.random.choice(["chown", "kill", "setuid", "net_bind_service"])
        _ = self.stage.pid  # it has a PID 1 of its own, which stays

    def task(self) -> str:
        kinds = ", ".join(sorted(self._own))
        return (
            "With commands only, in `%%shell in exercise.stage`: start `sleep "
            f"{self._seconds}` in the background as a small container. It is PID 1; it has "
            f"namespaces of its own of exactly these kinds: {kinds}; its /proc shows no other "
            f"process; its host name is `{self._host_name}`; of all capabilities it has "
            f"CAP_{self._kept.upper()} alone, and no program that it executes gets more "
            "(no_new_privs)."
        )

    def look(self) -> Verdict:
        program = f"sleep {self._seconds}"
        found = [each for each in processes(of=self.stage) if each.command == program]
        wrong = [self._wrong(each) for each in found]
        if not wrong:
            return Verdict(False, f"no `{program}` runs on the stage.")
        if "" not in wrong:
            return Verdict(False, f"`{program}` runs, but {wrong[0]}.")
        return Verdict(True, f"`{program}` is PID 1 of a container called {self._host_name}.")

    def _wrong(self, found: ProcessSnapshot) -> str:
        """Say what is not as the task wants it; nothing if all is."""
        here = namespaces(self.stage.pid)
        own = {kind for kind, inode in found.namespaces.items() if inode != here.get(kind)}
        if own != self._own:
            return f"its own namespaces are: {', '.join(sorted(own)) or 'none'}"
        if found.pids[-1] != 1:
            return f"it is PID {found.pids[-1]} there"
        shown = [name for name in os.listdir(f"/proc/{found.pid}/root/proc") if name.isdigit()]
        if shown != ["1"]:
            return f"its /proc shows {len(shown)} processes"
        enter = ["nsenter", "--target", str(found.pids[-2]), "--uts", "hostname"]
        if (name := self.stage.run(enter).stdout.strip()) != self._host_name:
            return f"its host name is {name}"
        return self._too_mighty(capabilities(found.pid))

    def _too_mighty(self, facts: CapabilitySets) -> str:
        wanted = {f"CAP_{self._kept.upper()}"}
        if facts.effective != wanted:
            return f"it has {_some(facts.effective)}"
        if facts.bounding - wanted:
            return f"it may gain {_some(facts.bounding)}"
        return "" if facts.no_new_privs else "no_new_privs is not set"

    def answer(self) -> str:
        more = "--ipc" if "ipc" in self._own else "--net"
        inside = (
            f"hostname {self._host_name}; exec setpriv --no-new-privs --inh-caps=-all "
            f"--bounding-set=-all,+{self._kept} sleep {self._seconds}"
        )
        line = f"unshare --pid --fork --mount-proc --uts {more} sh -c {shlex.quote(inside)} &"
        return f"%%shell in exercise.stage\n{line}"


def _some(names: Collection[str]) -> str:
    return f"{', '.join(sorted(names)[:3]) or 'no capability'} ({len(names)} in all)"


class Refuse(_InAWorkshop):
    """Have the filter refuse one thing more, by whatever call, and nothing else."""

    name = "08.3"
    hints = (
        "Which system call does the program make? In a terminal: strace -f PROGRAM. Others do the "
        "same: in syscalls(2), look for its name with f- before it, -at or -at2 after it.",
        "io_uring is a queue of requests in shared memory. The kernel fulfils them (links and "
        "renames are among them) without a system call of their own, so that no filter sees them: "
        "one that is to refuse links must refuse io_uring_setup, too.",
    )
    WISHES: ClassVar = {
        "make symbolic links": (["busybox", "ln", "-s", "a", "/shared/link"],
                                ["symlink", "symlinkat", "io_uring_setup"]),
        "make named pipes": (["busybox", "mkfifo", "/shared/pipe"], ["mknod", "mknodat"]),
        "call chmod, in whatever form": (["busybox", "chmod", "700", "/shared/mine"],
                                         ["chmod", "fchmod", "fchmodat", "fchmodat2"]),
    }  # fmt: skip

    def begin(self) -> None:
        super().begin()
        self._wish = self.random.choice(sorted(self.WISHES))
        self._argv, calls = self.WISHES[self._wish]
        self._calls = [call for call in calls if call in numbers()]
        root_inside = int(self.workshop.users.split()[1])
        mine = self.workshop.root / "shared/mine"
        mine.touch()
        if "user" not in self.workshop.stage.new:  # else it is root's inside as it is
            os.chown(mine, root_inside, root_inside)  # only its owner may chmod it

    def task(self) -> str:
        return (
            f"Nothing in the container may {self._wish}. Set exercise.filter so that "
            f"`{' '.join(self._argv)}` is refused with EPERM, and so is every other call that does "
            "the same. Every other call still works, except those that exercise.filter denies "
            "already."
        )

    def look(self) -> Verdict:
        self.workshop.filter = self.filter
        shared = self.workshop.root / "shared"
        try:
            done = self.workshop.run(STEPS, self._argv)
        except StepFailed as failure:
            return Verdict(False, f"there is no container. {failure}")
        finally:
            for name in ("link", "pipe"):
                (shared / name).unlink(missing_ok=True)
        if done.returncode == 0:
            return Verdict(False, f"`{' '.join(self._argv)}` still works.")
        if "not permitted" not in done.stderr:
            return Verdict(False, f"it failed for another reason: {done.stderr.strip()}.")
        if gap := self._gap():
            return Verdict(False, f"it is refused, but {gap}.")
        return Verdict(True, f"the kernel said: {done.stderr.strip()}.")

    def _gap(self) -> str:
        """Say what the filter forgets, or refuses without need."""
        verdicts = {each.name: each.kind for each in self.filter.verdicts()}
        for name in DENIED:
            if verdicts.get(name) != "denied":
                return f"now {name} is allowed"
        for name in self._calls:
            if verdicts.get(name) != "denied":
                return f"another program may still call {name}"
        needed = {*DENIED, *self._calls, *RING}
        more = [name for name, kind in verdicts.items() if kind != "allowed" and name not in needed]
        return f"{more[0]} is refused, too, which has nothing to do with it" if more else ""

    def answer(self) -> str:
        names = [*DENIED, *self._calls]
        return f"from labsupport import Filter\n\nexercise.filter = Filter.deny({names!r})"
