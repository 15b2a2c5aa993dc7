"""The race: each way to run the app is started several times in turn, while a picture grows.

Starting blocks, so it is done in one thread of its own, kept for the race's life: helper processes
of sandboxes end with the thread that made them. The picture is painted between the starts, and
during those that take long; the quick ones are left undisturbed.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from labsupport.errors import RaceNotRun
from labsupport.machine import probe
from labsupport.race.bait import Bait
from labsupport.race.elsewhere import InContainer, InLabVM, InVirtualMachine
from labsupport.race.on_the_host import AsProcess, InEnvironment, InSandbox
from labsupport.race.results import Entrant
from labsupport.race.runners import Runner
from labsupport.views import race as view
from labsupport.views import style, wish_matrix
from labsupport.views.live import LivePicture, Shown
from labsupport.views.plain_table import PlainTable

RUNNERS: tuple[type[Runner], ...] = (
    AsProcess, InEnvironment, InSandbox, InContainer, InLabVM, InVirtualMachine,
)  # fmt: skip
SLOW_SECONDS = 5.0  # what takes longer is started once
UNDISTURBED_SECONDS = 0.4
REST = 4.0  # after a painting, as many times as long nothing is painted
_T = TypeVar("_T")


class Race:
    """Runs the app in every way there is here: `await race.run(rounds=3)`, then `close()`.

    `entrants` are the results by name; those that cannot run here say why not.
    """

    def __init__(self, runners: Sequence[type[Runner]] = RUNNERS) -> None:
        self.entrants: dict[str, Entrant] = {}
        self._kinds = tuple(runners)
        self._runners: dict[str, Runner] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="race")
        self._bait: Bait | None = None
        self.token = ""
        """Stands in the command of the process that the app tries to end, and in no other."""
        self._picture = LivePicture()
        self._next_paint = 0.0
        self._hostname = platform.node()
        self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        """The kernel of this notebook, by what it calls itself since it was started."""

    def __getitem__(self, name: str) -> Entrant:
        return self.entrants[name]

    @property
    def ran(self) -> dict[str, Entrant]:
        """Those that have answered, by name.

        Raises:
            RaceNotRun: none has.

        """
        found = {name: each for name, each in self.entrants.items() if each.starts}
        if not found:
            raise RaceNotRun("nothing has been started yet")
        return found

    async def run(self, rounds: int = 3, frames_per_second: float | None = None) -> None:
        """Start each entrant so many times, in turn, and paint; slow ones once. Stop ends it.

        Raises:
            RuntimeFailed: the app did not answer somewhere.

        """
        frames = frames_per_second or (2.0 if probe().place == "vm" else 5.0)
        self._release()
        self._bait = Bait()
        self.token = self._bait.token
        self.entrants = {kind.name: Entrant(kind.name, kind.why_not()) for kind in self._kinds}
        self._picture.stopping, self._picture.running = False, True
        self._paint()
        shown = Shown(self._picture, self._words())
        try:
            await self._prepare(frames)
            for number in range(rounds):
                await self._one_round(number, frames)
        finally:
            self._picture.running = False
            # whatever was being started is waited for, then ended
            await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._release)))
        self._paint(over=True)
        everyone = list(self.entrants.values())
        shown.leave(
            self._picture.png, view.words(everyone), view.table(everyone), self._picture.width
        )

    def matrix(self) -> None:
        """Show the lecture's wish list, each field measured."""
        wish_matrix.show(list(self.entrants.values()))

    def kernels(self) -> PlainTable:
        """Return what the app said of kernel and user space in each place."""
        rows = tuple(
            (name, e.page["kernel"], e.page["boot_id"][:8], f"{e.page['init']}",
             e.page["libc"], e.page["python"])
            for name, e in self.ran.items()
        )  # fmt: skip
        others = [name for name, each in self.ran.items() if each.page["boot_id"] != self.boot_id]
        told = f"another kernel: {', '.join(others)}" if others else "one kernel for all"
        head = ("asked in", "uname -r", "boot id", "PID 1", "libc", "Python")
        return PlainTable(f"Same kernel? {told}", head, rows)

    def close(self) -> None:
        """End and remove all of it; may be called twice."""
        if self._thread is not None:
            self._thread.submit(self._release).result()
            self._thread.shutdown()
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="race")

    async def _prepare(self, frames: float) -> None:
        for kind in self._kinds:
            if self.entrants[kind.name].why_not or self._picture.stopping:
                continue
            bait = self._bait
            if bait is None:
                return
            runner = kind(bait)
            self._runners[kind.name] = runner
            self._picture.status = f"setting up: {kind.name}"
            await self._in_thread(runner.prepare, frames)
            self._note(
                kind.name, disk_bytes=runner.disk_bytes, disk_words=runner.disk_words,
                set_up_seconds=runner.set_up_seconds, set_up_words=runner.set_up_words,
            )  # fmt: skip

    async def _one_round(self, number: int, frames: float) -> None:
        for name, runner in self._runners.items():
            # the first start decides, so that one at the limit does not stop half-way
            slow = any(seconds > SLOW_SECONDS for seconds in self.entrants[name].starts[:1])
            if self._picture.stopping or (number and slow):
                continue
            self._picture.status = f"round {number + 1}: {name}"
            began = time.monotonic()

            await self._in_thread(
                partial(self._start, runner), frames, partial(self._note_waiting, name, began)
            )
            self._note(name, running_seconds=None)
            self._paint()

    def _start(self, runner: Runner) -> None:
        """Start it once, look what it got at, and end it; in the thread."""
        try:
            seconds = runner.start()
            got = runner.got(self._hostname, self.boot_id)
        finally:
            runner.stop()
        before = self.entrants[runner.name]
        self._note(
            runner.name, starts=(*before.starts, seconds), got=got, page=runner.answer,
            memory=(*before.memory, runner.memory_bytes),
        )  # fmt: skip

    async def _in_thread(
        self, work: Callable[[], _T], frames: float, still: Callable[[], None] | None = None
    ) -> _T:
        """Do it in the thread; once it takes long, paint meanwhile."""
        began = time.monotonic()
        future = asyncio.wrap_future(self._thread.submit(work))
        await asyncio.wait({future}, timeout=UNDISTURBED_SECONDS)
        while not future.done():
            if still:
                still()
            self._paint()
            spent = (time.monotonic() - began) % (1 / frames)
            await asyncio.wait({future}, timeout=1 / frames - spent)
            if self._picture.stopping:
                self._picture.status = "stopping when this one has answered …"
        return future.result()

    def _note(self, name: str, **news: Any) -> None:
        self.entrants = {**self.entrants, name: replace(self.entrants[name], **news)}

    def _note_waiting(self, name: str, began: float) -> None:
        self._note(name, running_seconds=time.monotonic() - began)

    def _paint(self, over: bool = False) -> None:
        began = time.monotonic()
        if began < self._next_paint and not over:
            return
        everyone = list(self.entrants.values())
        figure = view.draw(everyone, over)
        self._picture.width = style.pixels(figure)
        self._picture.png = style.png(figure)
        self._picture.alt = view.words(everyone)
        now = time.monotonic()
        self._next_paint = now + REST * (now - began)
        if over:
            self._picture.status = view.finding(everyone)

    def _words(self) -> str:
        return "The race is being run."

    def _release(self) -> None:
        """End all entrants and remove what they made; in the thread that made it."""
        for runner in self._runners.values():
            runner.close()
        self._runners = {}
        if self._bait:
            self._bait.close()
            self._bait = None
