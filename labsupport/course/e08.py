"""The exercises of notebook 08, build a container: each is judged by trying to break out."""

from __future__ import annotations

import os
from typing import ClassVar

from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import StepFailed
from labsupport.linux.seccomp import Filter
from labsupport.linux.workshop import steps as by_hand
from labsupport.linux.workshop.breakouts import Host, Lights
from labsupport.linux.workshop.building import Step
from labsupport.linux.workshop.handmade import Workshop

KEPT = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SETFCAP")
DENIED = ("unshare", "setns", "mount", "umount2", "pivot_root", "ptrace", "reboot", "keyctl")
# own_cgroup needs a control group, which not every place has
STEPS = tuple(step for step in by_hand.STEPS if step is not by_hand.own_cgroup)
FROM = "from labsupport.linux.workshop.steps import {}\n"


class _OnAStage(Exercise):
    """What the exercises share: a workshop of their own, `exercise.steps`, a filter."""

    def begin(self) -> None:
        """Make the stage."""
        self.workshop = Workshop().open()
        self.workshop.kept = KEPT
        self.filter = self.workshop.filter = Filter.deny(DENIED)
        self.host = Host(self.workshop)
        self.steps: list[Step] = list(STEPS)

    def stop(self) -> None:
        """Take the stage down."""
        super().stop()
        if hasattr(self, "workshop"):
            self.workshop.close()

    def lights(self) -> Lights | Verdict:
        """Build a container of `exercise.steps` and try to break out; or say why there is none."""
        try:
            return self.host.try_all(self.steps)
        except StepFailed as failure:
            return Verdict(False, f"there is no container. {failure}")


class Missing(_OnAStage):
    """One step has been left out; the way out that it closed is open."""

    name = "08.1"
    hints = (
        "Read the evidence: which kind of thing of the host's has been reached? "
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
        """Leave a step out."""
        super().begin()
        self.missing = self.random.choice(list(self.LEFT_OUT))
        self.steps.remove(self.missing)
        self.way = self.LEFT_OUT[self.missing]

    def task(self) -> str:
        """The task, with the evidence of the break-out."""
        found = self.lights()
        assert isinstance(found, Lights)  # noqa: S101 (all but one of the steps work)
        light = found[self.way]
        return (
            f"A container was built of exercise.steps, and this came out of it: `{light.attempt}` "
            f"worked; {light.evidence}. Add the step that is missing, at a place where it works. "
            "The check builds it again and tries every way out."
        )

    def look(self) -> Verdict:
        """Try every way out of what the steps make now."""
        found = self.lights()
        if isinstance(found, Verdict):
            return found
        light = found[self.way]
        if not light.held:
            return Verdict(False, f"`{light.attempt}` still works: {light.evidence}.")
        open_ = [each for each in found if not each.held and each.name != "cgroup"]
        if open_:
            worst = open_[0]
            return Verdict(False, f"that is closed, but now {worst.words}: {worst.evidence}.")
        return Verdict(True, f"`{light.attempt}` is kept in: {light.evidence}.")

    def answer(self) -> str:
        """One way to do it."""
        name, place = self.missing.__name__, STEPS.index(self.missing)
        return FROM.format(name) + f"\nexercise.steps.insert({place}, {name})"


class Order(_OnAStage):
    """The right steps in an order that the kernel does not accept."""

    name = "08.2"
    hints = (
        "Run exercise.check(): the message says which step fails, and what an earlier one took "
        "away. exercise.steps is an ordinary list.",
        "First what needs the world outside (users, network), then names and PIDs, then mounts and "
        "root; last what takes something away: capabilities, then the filter.",
    )

    def begin(self) -> None:
        """Exchange two steps that depend on each other."""
        super().begin()
        pairs = [
            (by_hand.own_root, by_hand.few_capabilities),
            (by_hand.own_pids, by_hand.own_root),
            (by_hand.own_users, by_hand.own_mounts),
        ]
        first, second = self.random.choice(pairs)
        here, there = self.steps.index(first), self.steps.index(second)
        self.steps[here], self.steps[there] = second, first

    def task(self) -> str:
        """The task, with the order as it is."""
        names = ", ".join(step.__name__ for step in self.steps)
        return (
            f"These steps are complete, but in this order there is no container, or a bad one: "
            f"`{names}`. Set exercise.steps to the same steps in an order that works."
        )

    def look(self) -> Verdict:
        """Build it, and try every way out."""
        names = sorted(step.__name__ for step in self.steps)
        if names != sorted(step.__name__ for step in STEPS):
            return Verdict(False, f"these are not the same steps: {', '.join(names)}.")
        found = self.lights()
        if isinstance(found, Verdict):
            return found
        out = [each for each in found if not each.held and each.name != "cgroup"]
        if out:
            return Verdict(False, f"it is built, but not tight: {out[0].evidence}.")
        return Verdict(True, f"it is built, and {len(found.held)} ways out are closed.")

    def answer(self) -> str:
        """One way to do it."""
        names = ", ".join(step.__name__ for step in STEPS)
        return FROM.format(f"({names})") + f"\nexercise.steps = [{names}]"


class Refuse(_OnAStage):
    """Have the filter refuse one thing more, and nothing else."""

    name = "08.3"
    hints = (
        "Which system call does the program make? In a terminal: strace -f PROGRAM. There may be a "
        "younger call, ending in -at, that does the same.",
        'A filter is a list of names: exercise.filter = Filter.deny([..., "the call"]).',
    )
    WISHES: ClassVar = {
        "make symbolic links": (["busybox", "ln", "-s", "a", "/shared/link"],
                                ["symlink", "symlinkat"]),
        "make named pipes": (["busybox", "mkfifo", "/shared/pipe"], ["mknod", "mknodat"]),
        "change who may read a file": (["busybox", "chmod", "700", "/shared/mine"],
                                       ["chmod", "fchmodat", "fchmodat2"]),
    }  # fmt: skip

    def begin(self) -> None:
        """Choose what is to be refused."""
        super().begin()
        self.wish = self.random.choice(sorted(self.WISHES))
        self.argv, self.calls = self.WISHES[self.wish]
        mine = self.workshop.root / "shared/mine"
        mine.touch()
        if "user" not in self.workshop.stage.new:  # else whoever runs this is root inside
            root_inside = int(self.workshop.users.split()[1])
            os.chown(mine, root_inside, root_inside)  # whose it is not may not chmod it anyway

    def task(self) -> str:
        """The task, with the program that must fail."""
        return (
            f"Nothing in the container may {self.wish}. Set exercise.filter so that "
            f"`{' '.join(self.argv)}` is refused by the kernel, while all that the container could "
            "do before still works (but the calls that exercise.filter denies already)."
        )

    def look(self) -> Verdict:
        """Run that program in a container with the filter, and some harmless ones."""
        self.workshop.filter = self.filter
        try:
            done = self.workshop.run(self.steps, self.argv)
            harmless = self.workshop.run(
                self.steps, ["busybox", "sh", "-c", "busybox ls / && echo x > /shared/file"]
            )
        except StepFailed as failure:
            return Verdict(False, f"there is no container. {failure}")
        finally:
            self._tidy()
        if done.returncode == 0:
            return Verdict(False, f"`{' '.join(self.argv)}` still works.")
        if harmless.returncode:
            said = harmless.stderr.strip() or harmless.ending
            return Verdict(False, f"it is refused, but so is what is harmless: {said}.")
        if "not permitted" not in done.stderr:
            return Verdict(False, f"it failed for another reason: {done.stderr.strip()}.")
        if gap := self._gap():
            return Verdict(False, f"it is refused, but {gap}.")
        return Verdict(True, f"the kernel said: {done.stderr.strip()}.")

    def _gap(self) -> str:
        """Say what the filter forgets: a call of before, or one that grants the wish."""
        for name in (*DENIED, *self._to_deny()):
            if self.filter.verdict(name).kind == "allowed":
                same = name in self.calls
                return (
                    f"another program may still call {name}" if same else f"now {name} is allowed"
                )
        return ""

    def _to_deny(self) -> list[str]:
        return [call for call in self.calls if call != "fchmodat2"]  # not every kernel has it

    def _tidy(self) -> None:
        for name in ("link", "pipe", "file"):
            (self.workshop.root / "shared" / name).unlink(missing_ok=True)

    def answer(self) -> str:
        """One way to do it."""
        names = [*DENIED, *self._to_deny()]
        return f"from labsupport import Filter\n\nexercise.filter = Filter.deny({names!r})"


EXERCISES: dict[str, type[Exercise]] = {each.name: each for each in (Missing, Order, Refuse)}
