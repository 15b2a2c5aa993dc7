"""The exercise of notebook 13: the same program twice, contained by two different means."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound

from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine import listing
from labsupport.engine.client import Engine
from labsupport.engine.labels import as_filter, owner_labels
from labsupport.linux.procfs import ProcessSnapshot, processes, status

if TYPE_CHECKING:
    from docker.models.containers import Container


class Twice(Exercise):
    """Run one command as a container of the engine and in a sandbox, at the same time."""

    name = "13.1"
    moment = 0.5
    hints = (
        "exercise.engine.client.containers.run(IMAGE, COMMAND, detach=True, "
        "labels=exercise.labels) starts a container; box.start(COMMAND) in a Sandbox the other.",
        'The first program in Sandbox(new={"pid", "mount"}).open() is PID 1 there; the course\'s '
        "image is labsupport/busybox, and exercise.engine.base_image() makes sure that it is "
        "there.",
    )

    def begin(self) -> None:
        """Connect to the engine; choose a number of seconds that nobody else sleeps."""
        self.engine = Engine.connect()
        self.engine.base_image()
        self.seconds = self.random.randrange(30_000, 40_000)
        self.labels = {**owner_labels(), "org.labsupport.exercise": f"{self.name}/{self.seconds}"}
        self.command = ["sleep", str(self.seconds)]
        self.depth = len(status().pids)

    def task(self) -> str:
        """The task, with the duration."""
        return (
            f"Have `sleep {self.seconds}` run twice at the same time, each time as PID 1: once as "
            "a container of the engine (from `labsupport/busybox`, with `labels=exercise.labels`), "
            "once in a `Sandbox`. Nothing else may run that command."
        )

    def look(self) -> Verdict:
        """Find the processes; ask the engine which of them are its own."""
        found = self._sleepers()
        theirs = {pid for container in self._containers() for pid in _pids(container)}
        contained = [process for process in found if process.pid in theirs]
        others = [process for process in found if process.pid not in theirs]
        saw = (
            f"`sleep {self.seconds}` runs {len(contained)} times in containers of the engine, "
            f"{len(others)} times elsewhere"
        )
        if len(contained) != 1 or len(others) != 1:
            return Verdict(False, f"{saw}; one of each is asked for.")
        [other] = others
        if other.pids[-1] != 1 or len(other.pids) <= self.depth:
            return Verdict(
                False, f"{saw}, but that one has the numbers {other.pids}: it is no PID 1."
            )
        if contained[0].pids[-1] != 1:
            return Verdict(False, f"{saw}, but in the container it is PID {contained[0].pids[-1]}.")
        return Verdict(True, f"{saw}; outside they are {contained[0].pid} and {other.pid}, "
                             "inside both are PID 1.")  # fmt: skip

    def answer(self) -> str:
        """One way to do it."""
        return (
            "from labsupport import Sandbox\n\n"
            "container = exercise.engine.client.containers.run(\n"
            '    "labsupport/busybox", exercise.command, detach=True, network_mode="none",\n'
            "    labels=exercise.labels,\n"
            ")\n"
            'exercise.box = Sandbox(new={"pid", "mount"}).open()\n'
            "exercise.box.start(exercise.command)"
        )

    def stop(self) -> None:
        """Remove the containers with the exercise's labels, whatever they run; disconnect."""
        super().stop()
        if not hasattr(self, "engine"):
            return
        for container in self._containers(all=True):
            container.remove(force=True)
        self.engine.close()
        del self.engine

    def _sleepers(self) -> list[ProcessSnapshot]:
        command = " ".join(self.command)
        return [process for process in processes() if process.command == command]

    def _containers(self, **options: Any) -> list[Container]:
        mine = as_filter(self.labels)
        return listing.containers(self.engine.client, filters=mine, **options)


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


EXERCISES: dict[str, type[Exercise]] = {Twice.name: Twice}
"""By number."""
