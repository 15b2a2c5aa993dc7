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
from labsupport.figure.page import Axes, Page, ticks
from labsupport.figure.table import PlainTable, amount
from labsupport.race.runners import RUNNERS, Bait, Entrant, Runner, time_in_words

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
        self._thread = ThreadPoolExecutor(1)
        self._bait: Bait | None = None
        self._picture = LivePicture()

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
        picture, table = self._picture, race_table(self._everyone)
        picture.status = race_finding(self._everyone)
        shown.leave(picture.image, picture.alt, table, picture.width)

    def matrix(self) -> PlainTable:
        """Return the lecture's wish list, each field measured."""
        return matrix(self._everyone)

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
        self._thread = ThreadPoolExecutor(1)

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
            if not self._picture.stopping and not (number and slow):
                self._picture.status = f"round {number + 1}: {name}"
                await self._in_thread(partial(self._start, runner))

    def _start(self, runner: Runner) -> None:
        """Start it once, look what it got at, and end it; in the thread."""
        try:
            seconds = runner.start()
            held = runner.walls(platform.node(), self.boot_id)
        finally:
            runner.stop()
        before = self.entrants[runner.name]
        self._note(
            runner.name, starts=(*before.starts, seconds), held=held, page=runner.answer,
            memory=(*before.memory, runner.memory_bytes),
        )  # fmt: skip

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.wrap_future(self._thread.submit(work))

    def _note(self, name: str, **news: Any) -> None:
        self.entrants = {**self.entrants, name: replace(self.entrants[name], **news)}

    def _paint(self) -> None:
        page = race_page(self._everyone)
        self._picture.width, self._picture.image = page.pixels, page.svg()
        self._picture.alt = race_words(self._everyone)

    def _release(self) -> None:
        """End all entrants and remove what they made; in the thread that made it."""
        for runner in self._runners.values():
            runner.close()
        self._runners = {}
        if self._bait:
            self._bait.end_victim()


Entrants = Sequence[Entrant]

# --- the bars: until the first answer, memory, disk ---------------------------------------------

WIDTH = 10.0  # inches
TOP, BOTTOM, ROW, THICK = 10.5, 6.2, 5.6, 3.2  # units; a row, and a bar in it
PANELS = {"time": (18.7, 35.0), "memory": (56.0, 15.0), "disk": (74.0, 25.0)}  # left, width
LEAST_SECONDS, LEAST_BYTES = 0.2, 1e6  # no scale ends earlier
WORDS = {"time": 1.3, "memory": 2.6, "disk": 2.0}  # a scale's length, in longest bars
COLOURS = {
    "process": style.HOST, "virtual environment": style.HOST, "our sandbox": style.FIRST,
    "container": style.SECOND,
}  # fmt: skip


def race_finding(entrants: Entrants) -> str:
    """Say in one line how much longer than a process the others took."""
    ran = [each for each in entrants if each.starts]
    base = next((each.seconds for each in ran if each.name == "process"), 0.0)
    if not base or len(ran) == 1:
        return "Who answers first?"
    told = [each for each in ran if each.name in ("container", "virtual machine")] or ran[-1:]
    parts = [f"{each.name} {_times(each.seconds / base)}" for each in told]
    return f"Process {time_in_words(base)}, {' that, '.join(parts)}{'' if told[1:] else ' that'}"


def _times(factor: float) -> str:
    return f"{factor:.1f}×" if factor < 9.5 else f"{factor:.0f}×"  # noqa: RUF001


def race_words(entrants: Entrants) -> str:
    """Say all of it: the picture's text alternative."""
    return " ".join([f"{race_finding(entrants)}.", *map(_sentence, entrants)])


def _sentence(each: Entrant) -> str:
    if each.why_not:
        return f"{each.name}: not here, {each.why_not}."
    if not each.starts:
        return f"{each.name}: has not run."
    low, high = time_in_words(min(each.starts)), time_in_words(max(each.starts))
    spread = f"{low} to {high}" if len(each.starts) > 1 else "one start"
    return (
        f"{each.name}: {time_in_words(each.seconds)} ({spread}), "
        f"{amount(each.memory_bytes)} of memory, {_disk(each)} on disk."
    )


def _disk(each: Entrant) -> str:
    own = amount(each.disk_bytes)
    return f"{own} + {amount(each.borrowed_bytes)}" if each.borrowed_bytes else own


def race_table(entrants: Entrants) -> list[tuple[object, ...]]:
    """Return a row for each entrant, with a row of headings first."""
    head = ("how", "first answer after (median)", "fastest", "slowest", "starts", "memory",
            "brings on disk", "borrows of the host's files", "what it brings")  # fmt: skip
    return [head, *map(_row, entrants)]


def _row(each: Entrant) -> tuple[object, ...]:
    if not each.starts:
        return (each.name, each.why_not or "has not run", "", "", 0, "", "", "", "")
    times = map(time_in_words, (each.seconds, min(each.starts), max(each.starts)))
    sizes = (each.memory_bytes, each.disk_bytes, each.borrowed_bytes)
    return (each.name, *times, len(each.starts), *map(amount, sizes), each.disk_words)


def race_page(entrants: Entrants) -> Page:
    """Draw the three panels."""
    page = Page(TOP + BOTTOM + ROW * len(entrants), race_finding(entrants), inches=WIDTH)
    longest = [max(e.starts, default=0) for e in entrants]
    needed = [e.disk_bytes + e.borrowed_bytes for e in entrants]
    time = panel(page, "time", "time to the first answer", longest)
    memory = panel(page, "memory", "memory", [e.memory_bytes for e in entrants])
    disk = panel(page, "disk", "files it needs", needed)
    for row, each in enumerate(entrants):
        page.text(time.left - 0.9, _middle(row), each.name, "body", right=True)
        draw_time(time, row, each)
        if each.starts:
            _bar(memory, row, each.memory_bytes, each)
            _say(memory, row, each.memory_bytes, amount(each.memory_bytes))
            draw_disk(disk, row, each)
    note = "bar: median;  points: each start;  hatched: the host's own Python, which is borrowed"
    page.text(1.2, page.height - 0.8, note, colour=style.QUIET, at="bottom")
    return page


def panel(page: Page, kind: str, heading: str, values: Sequence[float]) -> Axes:
    """Make a panel whose scale begins at zero, with room for words behind the longest bar."""
    left, wide = PANELS[kind]
    least, in_words = {"time": (LEAST_SECONDS, time_in_words)}.get(kind, (LEAST_BYTES, amount))
    longest = max(*values, least)
    axes = Axes(page, (left, TOP, wide, ROW * len(values)), longest * WORDS[kind])
    page.text(left, TOP - 0.8, heading, "body", bold=True, at="bottom")
    for tick in ticks(longest, 4 if kind == "time" else 2):
        x, words = axes.x(tick), in_words(tick).replace(".0", "") if tick else "0"
        page.line((x, TOP), (x, axes.bottom), colour=style.PALE, line=0.6, above=0)
        page.text(x, axes.bottom + 1.4, words, centre=True)
    return axes


def _middle(row: int) -> float:
    return TOP + ROW * (row + 0.5)


def draw_time(axes: Axes, row: int, each: Entrant) -> None:
    """Draw the median as a bar, and each start as a point."""
    left, y = axes.left + 0.6, _middle(row)
    if each.why_not:
        why = each.why_not if len(each.why_not) <= 75 else f"{each.why_not[:74]}…"
        axes.page.text(left, y, f"not here: {why}", colour=style.QUIET, italic=True)
    elif not each.starts:
        axes.page.text(left, y, "waits for its turn", colour=style.QUIET)
    else:
        _bar(axes, row, each.seconds, each)
        for start in each.starts:
            axes.page.circle(axes.x(start), y, 0.3, style.INK, fill=style.PAPER, line=1, above=2)
        _say(axes, row, max(each.starts), time_in_words(each.seconds))


def draw_disk(axes: Axes, row: int, each: Entrant) -> None:
    """Draw what it brings, and behind that, hatched, what it borrows."""
    _bar(axes, row, each.disk_bytes, each)
    if each.borrowed_bytes:
        _bar(axes, row, each.borrowed_bytes, each, each.disk_bytes, borrowed=True)
    _say(axes, row, each.disk_bytes + each.borrowed_bytes, _disk(each))


def _bar(
    axes: Axes, row: int, value: float, each: Entrant, after: float = 0, borrowed: bool = False
) -> None:
    tint = COLOURS.get(each.name, style.THIRD)  # machines with a kernel of their own share it
    left, wide = axes.x(after), axes.x(value) - axes.left
    look: dict[str, Any] = {"hatched": True} if borrowed else {"fill": tint}
    colour = tint if borrowed else style.INK
    place = left, _middle(row) - THICK / 2, wide, THICK
    axes.page.box(*place, colour, line=0.8, pad=0, **look)


def _say(axes: Axes, row: int, end: float, words: str) -> None:
    axes.page.text(axes.x(end) + 0.8, _middle(row), words, "body", bold=True)


# --- the wish list as a matrix ------------------------------------------------------------------

HEADS = (
    "set up after", "file not read", "file not changed", "process not seen", "process not ended",
    "own host name", "own kernel", "memory", "own files", "first answer after",
)  # fmt: skip


def matrix(entrants: Entrants) -> PlainTable:
    """The lecture's wish list, a row for each entrant: ✓ the wall held, ✕ it did not."""
    told = [
        f"{each.name.replace('virtual environment', 'venv')} {sum(each.held)}"
        for each in entrants
        if each.held and each.name != "process"
    ]
    finding = f"Walls that held: {', '.join(told)} of 6"
    return PlainTable(finding, ("how", *HEADS), tuple((e.name, *_cells(e)) for e in entrants))


def _cells(each: Entrant) -> tuple[str, ...]:
    if not each.held:
        return (f"not here: {each.why_not or 'it has not run'}", *[""] * (len(HEADS) - 1))
    set_up = time_in_words(each.set_up_seconds) if each.set_up_words else "0"
    marks = tuple("✓" if held else "✕" for held in each.held)
    memory = amount(each.memory_bytes) if each.memory_bytes else "?"
    return (set_up, *marks, memory, amount(each.disk_bytes), time_in_words(each.seconds))
