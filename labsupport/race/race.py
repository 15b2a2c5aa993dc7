"""The race: each way to run the app is started several times in turn, and drawn after each round.

Starting blocks, so one thread of its own does it for the whole race: helper processes
of sandboxes end with the thread that made them.
"""

import asyncio
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.live import LivePicture, Shown
from labsupport.figure.table import PlainTable
from labsupport.race import pictures
from labsupport.race.runners import (
    AsProcess,
    Bait,
    Entrant,
    InContainer,
    InEnvironment,
    InSandbox,
    InVirtualMachine,
    Runner,
)

RUNNERS: tuple[type[Runner], ...] = (
    AsProcess, InEnvironment, InSandbox, InContainer, InVirtualMachine,
)  # fmt: skip
SLOW_SECONDS = 5.0  # what takes longer is started once


class Race:
    """Runs an app in every way there is here: `await race.run(rounds=3)`, then `close()`.

    The app is `app.py` in the race's `folder`: its arguments are a file to read, one to change, and
    a process to find and to end; it prints what came of that on one line, as JSON. `entrants` are
    the results by name; those that cannot run here say why not. `token` is in the command of the
    process that the app tries to end, and in no other; `boot_id` is what the kernel of this
    notebook calls itself since it was started.
    """

    def __init__(self, runners: Sequence[type[Runner]] = RUNNERS) -> None:
        self.entrants: dict[str, Entrant] = {}
        self.token = ""
        self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._kinds = tuple(runners)
        self._runners: dict[str, Runner] = {}
        self._thread = self._new_thread()
        self._bait: Bait | None = None
        self._picture = LivePicture()

    @staticmethod
    def _new_thread() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="race")

    @property
    def folder(self) -> Path:
        """The race's folder, made when first asked for, and removed by `close()`."""
        self._bait = self._bait or Bait()
        return self._bait.folder

    def __getitem__(self, name: str) -> Entrant:
        if name not in self.entrants:
            known = ", ".join(self.entrants)
            raise LabError(f"{name!r} has not run", known and f"known: {known}", "await race.run()")
        return self.entrants[name]

    @property
    def ran(self) -> dict[str, Entrant]:
        """Those that have answered, by name. Raises `LabError`."""
        found = {name: each for name, each in self.entrants.items() if each.starts}
        if not found:
            raise LabError("nothing has been started yet")
        return found

    @property
    def _everyone(self) -> list[Entrant]:
        return list(self.entrants.values())

    async def run(self, rounds: int = 3) -> None:
        """Start each entrant `rounds` times, in turn, slow ones once; Stop ends it. Show the times.

        Raises `LabError`: there is no app, or it did not answer somewhere.
        """
        if not (self.folder / "app.py").exists() or self._bait is None:
            why = f"there is no app.py in {self.folder}"
            raise LabError("nobody can run", why, "run the cell that writes it")
        self._release()
        self.token = self._bait.token
        self.entrants = {kind.name: Entrant(kind.name, kind.why_not()) for kind in self._kinds}
        self._picture.stopping, self._picture.running = False, True
        self._paint()
        shown = Shown(self._picture, "The race is being run.")
        try:
            await self._prepare(self._bait)
            for number in range(rounds):
                await self._one_round(number)
                self._paint()
        finally:
            self._picture.running = False
            # whatever was being started is waited for, then ended
            await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._release)))
        self._picture.status = pictures.race_finding(self._everyone)
        table = pictures.race_table(self._everyone)
        shown.leave(self._picture.png, self._picture.alt, table, self._picture.width)

    def matrix(self) -> PlainTable:
        """Return the lecture's wish list, each field measured."""
        return pictures.matrix(self._everyone)

    def kernels(self) -> PlainTable:
        """Return what the app said of kernel and user space in each place."""
        rows = tuple(
            (name, e.page["kernel"], e.page["boot_id"][:8], f"{e.page['init']}",
             e.page["libc"], e.page["python"])
            for name, e in self.ran.items()
        )  # fmt: skip
        if outer := os.environ.get("LAB_OUTER_BOOT_ID", ""):
            release = os.environ["LAB_OUTER_KERNEL"]
            rows += (("outside of the Lab VM", release, outer[:8], "–", "–", "–"),)  # noqa: RUF001
        kernels = len({row[2] for row in rows})
        head = ("asked in", "uname -r", "boot id", "PID 1", "libc", "Python")
        places = f"{len(rows)} place{'s' * (len(rows) > 1)}"
        told = f"{kernels} kernels answer" if kernels > 1 else "1 kernel answers"
        return PlainTable(f"{told} in {places}", head, rows)

    def close(self) -> None:
        """End and remove all of it, the app as well; may be called twice."""
        self._thread.submit(self._release).result()
        if self._bait:
            self._bait.close()
            self._bait = None
        self._thread.shutdown()
        self._thread = self._new_thread()

    async def _prepare(self, bait: Bait) -> None:
        for kind in self._kinds:
            if self.entrants[kind.name].why_not or self._picture.stopping:
                continue
            runner = self._runners[kind.name] = kind(bait)
            self._picture.status = f"setting up: {kind.name}"
            await self._in_thread(runner.prepare)
            self._note(
                kind.name, disk_bytes=runner.disk_bytes, disk_words=runner.disk_words,
                borrowed_bytes=runner.borrowed_bytes,
                set_up_seconds=runner.set_up_seconds, set_up_words=runner.set_up_words,
            )  # fmt: skip

    async def _one_round(self, number: int) -> None:
        for name, runner in self._runners.items():
            # the first start decides, so that one at the limit does not stop half-way
            slow = any(seconds > SLOW_SECONDS for seconds in self.entrants[name].starts[:1])
            if self._picture.stopping or (number and slow):
                continue
            self._picture.status = f"round {number + 1}: {name}"
            await self._in_thread(partial(self._start, runner))

    def _start(self, runner: Runner) -> None:
        """Start it once, look what it got at, and end it; in the thread."""
        try:
            seconds = runner.start()
            got = runner.got(platform.node(), self.boot_id)
        finally:
            runner.stop()
        before = self.entrants[runner.name]
        self._note(
            runner.name, starts=(*before.starts, seconds), got=got, page=runner.answer,
            memory=(*before.memory, runner.memory_bytes),
        )  # fmt: skip

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.wrap_future(self._thread.submit(work))

    def _note(self, name: str, **news: Any) -> None:
        self.entrants = {**self.entrants, name: replace(self.entrants[name], **news)}

    def _paint(self) -> None:
        figure = pictures.race_figure(self._everyone)
        self._picture.width, self._picture.png = style.pixels(figure), style.png(figure)
        self._picture.alt = pictures.race_words(self._everyone)

    def _release(self) -> None:
        """End all entrants and remove what they made; in the thread that made it."""
        for runner in self._runners.values():
            runner.close()
        self._runners = {}
        if self._bait:
            self._bait.end_victim()
