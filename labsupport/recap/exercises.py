"""The exercise of notebook 13: the same program twice, contained by two different means."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound

from labsupport.build.bases import base_image
from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine import listing
from labsupport.engine.client import Engine
from labsupport.engine.listing import as_filter, owner_labels
from labsupport.kernel.procfs import ProcessSnapshot, processes, status

if TYPE_CHECKING:
    from docker.models.containers import Container


class Twice(Exercise):
    """Run one command as a container of the engine and without any engine, at the same time."""

    name = "13.1"
    moment = 0.5
    hints = (
        "docker run --detach … starts a container; so does exercise.engine.client.containers.run("
        "…, detach=True). Without an engine: box.start(COMMAND) in a Sandbox, or unshare in a "
        "terminal.",
        'The first program in Sandbox(new={"pid", "mount"}).open() is PID 1 there, and so is the '
        "one that `unshare --pid --fork --kill-child` starts. In %%shell nothing outlives its "
        "cell, so take `Terminal()` for that.",
    )

    def begin(self) -> None:
        self.engine = self.ends.enter_context(Engine.connect())
        base_image(self.engine)
        self.seconds = self.random.randrange(30_000, 40_000)
        self.labels = {**owner_labels(), "org.labsupport.exercise": f"{self.name}/{self.seconds}"}
        self.ends.callback(self._remove_containers)
        self.command = ["sleep", str(self.seconds)]
        self._depth = len(status().pids)

    @property
    def label_options(self) -> str:
        """The same labels, as `docker run` takes them."""
        return " ".join(f"--label={name}={text}" for name, text in self.labels.items())

    def task(self) -> str:
        return (
            f"Have `sleep {self.seconds}` run twice at the same time, each time as PID 1, by two "
            "different means: once as a container of the engine (from `labsupport/busybox`), once "
            "without any engine. Nothing else may run that command. The container needs the labels "
            "`exercise.labels`, so that it is cleaned up. Commands alone will do: `%%shell "
            "labels=exercise.label_options`, then `docker run $labels …`; and a `Terminal()`."
        )

    def look(self) -> Verdict:
        command = " ".join(self.command)
        found = [each for each in processes() if each.command == command and each.name == "sleep"]
        theirs = {pid: c for c in listing.containers(self.engine.client) for pid in _pids(c)}
        contained = [process for process in found if process.pid in theirs]
        others = [process for process in found if process.pid not in theirs]
        saw = (
            f"`sleep {self.seconds}` runs {_times(contained)} in containers of the engine, "
            f"{_times(others)} elsewhere"
        )
        if len(contained) != 1 or len(others) != 1:
            return Verdict(False, f"{saw}; one of each is asked for.")
        [inside], [other] = contained, others
        wrong = self._wrong(inside, theirs[inside.pid], other)
        if wrong:
            return Verdict(False, f"{saw}, but {wrong}.")
        return Verdict(True, f"{saw}; outside they are {inside.pid} and {other.pid}, "
                             "inside both are PID 1.")  # fmt: skip

    def _wrong(self, inside: ProcessSnapshot, its: Container, other: ProcessSnapshot) -> str:
        if not self.labels.items() <= its.labels.items():
            return "the container lacks the labels, and would not be cleaned up"
        if monitor := next((name for name in _above(other) if name in MONITORS), ""):
            return f"the other one is a container as well: `{monitor}` watches it"
        if other.pids[-1] != 1 or len(other.pids) <= self._depth:
            return f"the one elsewhere has the numbers {other.pids}: it is not PID 1"
        if inside.pids[-1] != 1:
            return f"in the container it is PID {inside.pids[-1]}"
        return ""

    def answer(self) -> str:
        return (
            "from labsupport import Sandbox\n\n"
            "container = exercise.engine.client.containers.run(\n"
            '    "labsupport/busybox", exercise.command, detach=True, network_mode="none",\n'
            "    labels=exercise.labels,\n"
            ")\n"
            'exercise.box = Sandbox(new={"pid", "mount"}).open()\n'
            "exercise.box.start(exercise.command)"
        )

    def _remove_containers(self) -> None:
        ours = {"filters": as_filter(self.labels), "all": True}
        for container in listing.containers(self.engine.client, **ours):
            container.remove(force=True)


MONITORS = {"containerd-shim", "conmon"}
"""What watches a container of Docker's or Podman's; each is among the parents of its PID 1."""


def _above(process: ProcessSnapshot) -> list[str]:
    """Return the names of a process's parent, its parent, and so on."""
    every = {each.pid: each for each in processes()}
    names = []
    while process := every.get(process.parent_pid):  # type: ignore[assignment]
        names.append(process.name)
    return names


def _times(found: list[ProcessSnapshot]) -> str:
    return "once" if len(found) == 1 else f"{len(found)} times"


def _pids(container: Container) -> list[int]:
    """Return a container's processes, as this machine numbers them; none if it has just ended."""
    try:
        return [int(row[0]) for row in container.top(ps_args="-eo pid")["Processes"]]
    except APIError:
        with suppress(NotFound):
            container.reload()
            if container.status == "running":  # the engine's machine has no `ps`, say
                raise
        return []
