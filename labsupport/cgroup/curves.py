"""Curves of a control group: memory, CPUs, tasks and disk writes, each against its limit.

`GroupRecord` reads the kernel's counters; `Curves` is what it read, as plain data; `page` draws
it. A limit is a dashed line with its value, usage a solid one; where the kernel struck (an OOM
kill, a throttled stretch, refused forks) there is a mark with its name and time.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

from labsupport.cgroup.group import Cgroup, Event
from labsupport.figure import style
from labsupport.figure.page import DASHES, DOTS, Axes, Page, Point

MIB = 1 << 20

# --- the data, and how its amounts are written --------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One reading: bytes, CPUs (CPU seconds for each second), tasks, bytes written per second.

    `at_seconds` counts from when watching began. None: no such controller, or no limit set.
    """

    at_seconds: float
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpus: float | None = None
    cpu_limit: float | None = None
    tasks: int | None = None
    task_limit: int | None = None
    written: float | None = None
    write_limit: int | None = None


@dataclass(frozen=True)
class Strike:
    """What the kernel did: `kind` is "oom_kill", "throttled" or "fork_refused".

    `count` kills, periods of 100 ms or forks, from `at_seconds` to `until_seconds`.
    """

    kind: str
    at_seconds: float
    until_seconds: float
    count: int

    @property
    def words(self) -> str:
        at = f"{self.at_seconds:.1f} s"
        if self.kind == "oom_kill":
            return f"OOM kill, {at}" if self.count == 1 else f"{self.count} OOM kills, {at}"
        if self.kind == "throttled":
            return f"throttled from {at}"
        return f"fork refused, {at}" if self.count == 1 else f"forks refused from {at}"


@dataclass(frozen=True)
class Curves:
    """What is drawn: the readings and strikes of the first `seconds`, and the limits' files.

    `files` maps memory, cpu, pids and io to the names of those files, which differ in v1 and v2.
    """

    samples: tuple[Sample, ...]
    strikes: tuple[Strike, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 8.0


def bytes_in_words(amount: float) -> str:
    """Write an amount of memory: `64 MiB`, `812 KiB`."""
    if amount >= 10 * MIB or amount % MIB == 0:
        return f"{amount / MIB:.0f} MiB"
    return f"{amount / MIB:.1f} MiB" if amount >= MIB else f"{amount / 1024:.0f} KiB"


class Kind(NamedTuple):
    """One of the curves: what it is called, where its numbers are, how they are written."""

    name: str
    heading: str
    strike: str
    struck: tuple[str, str]  # one of them, and more
    value: Callable[[Sample], float | None]
    limit: Callable[[Sample], float | None]
    written: Callable[[float], str]


KINDS = (
    Kind("memory", "memory in use", "oom_kill", ("OOM kill", "OOM kills"),
         lambda s: s.memory_bytes, lambda s: s.memory_limit_bytes, bytes_in_words),
    Kind("cpu", "CPUs in use", "throttled", ("period throttled", "periods throttled"),
         lambda s: s.cpus, lambda s: s.cpu_limit,
         lambda n: f"{n:.2f}".rstrip("0").rstrip(".") + (" CPU" if n == 1 else " CPUs")),
    Kind("pids", "processes and threads", "fork_refused", ("fork refused", "forks refused"),
         lambda s: s.tasks, lambda s: s.task_limit,
         lambda n: f"{n:.0f} task" if n == 1 else f"{n:.0f} tasks"),
    Kind("io", "written to the disk", "", ("", ""),
         lambda s: s.written, lambda s: s.write_limit,
         lambda n: f"{n / MIB:.1f}".removesuffix(".0") + " MiB/s"),
)  # fmt: skip

# --- what a group did while it was watched ------------------------------------------------------

PERIOD_SECONDS = 0.1  # in which a CPU quota is counted
RATE_SECONDS = 0.5  # over which CPU time is averaged, at least; writes over twice that
SAME_SECONDS = 1.5  # strikes of one kind that are this close make one stretch


class Counted(NamedTuple):
    """What has been counted until a moment."""

    at_seconds: float
    cpu_seconds: float
    periods: int
    written_bytes: int


class End(NamedTuple):
    """The end of a program, as `process.ending` words it."""

    kind: str
    at_seconds: float
    ending: str


class GroupRecord:
    """Readings of one group from now on: `sample()` takes one, `struck()` notes an event.

    The kernel reports OOM kills and refused forks (`Cgroup.events`). Throttling is read from the
    counters in `cpu.stat`, at each reading.
    """

    def __init__(
        self, group: Cgroup, disk: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.group, self._disk, self._clock = group, disk, clock
        self.began = clock()
        self.samples: list[Sample] = []
        self.strikes: list[Strike] = []
        self.ends: list[End] = []
        self._counted: list[Counted] = []
        self._throttled = group.usage().throttled_periods

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return self._clock() - self.began

    def sample(self) -> Sample:
        now, usage, limits = self.now, self.group.usage(), self.group.limits
        if (new := (usage.throttled_periods or 0) - (self._throttled or 0)) > 0:
            self._throttled = usage.throttled_periods
            self._add("throttled", now, new)
        cpus, written = self._rates(
            Counted(now, usage.cpu_seconds or 0, usage.periods or 0, usage.io_written_bytes or 0)
        )
        sample = Sample(
            now, usage.memory_bytes, limits.memory_bytes,
            None if usage.cpu_seconds is None else cpus, limits.cpu, usage.pids, limits.pids,
            written if self._disk and usage.io_written_bytes is not None else None,
            limits.io.get(self._disk),
        )  # fmt: skip
        self.samples.append(sample)
        return sample

    def _rates(self, last: Counted) -> tuple[float, float]:
        """Return CPU seconds and bytes written for each second, averaged over some time.

        A throttled group runs in bursts, one in each of the kernel's periods. Where those were
        counted all the time, it is their number that is divided by: an average over whole periods.
        Of several such averages a low one is taken: those that began within a burst are too high.
        """
        self._counted.append(last)
        while self._counted[0].at_seconds < last.at_seconds - 4 * RATE_SECONDS:
            self._counted.pop(0)
        cpus = [
            (last.cpu_seconds - each.cpu_seconds) / _whole_periods(each, last)
            for each in self._since(last, RATE_SECONDS)
        ]
        written = [
            (last.written_bytes - each.written_bytes)
            / max(last.at_seconds - each.at_seconds, 2 * RATE_SECONDS)
            for each in self._since(last, 2 * RATE_SECONDS)
        ]
        cpu_rate, write_rate = (sorted(each)[len(each) // 4] for each in (cpus, written))
        return max(0.0, cpu_rate), max(0.0, write_rate)

    def _since(self, last: Counted, seconds: float) -> list[Counted]:
        """Return what was counted so long ago, or up to twice as long; or else the first of all."""
        ago = [(last.at_seconds - each.at_seconds, each) for each in self._counted]
        return [each for age, each in ago if seconds <= age <= 2 * seconds] or self._counted[:1]

    def struck(self, event: Event) -> None:
        self._add(event.kind, event.at_seconds - self.began, event.new)

    def _add(self, kind: str, at: float, count: int) -> None:
        """Add a strike; throttled periods and refused forks that follow each other are one."""
        same = [n for n, strike in enumerate(self.strikes) if strike.kind == kind]
        last = self.strikes[same[-1]] if same else None
        if kind != "oom_kill" and last and at - last.until_seconds <= SAME_SECONDS:
            self.strikes[same[-1]] = replace(last, until_seconds=at, count=last.count + count)
        else:
            self.strikes.append(Strike(kind, at, at, count))

    def curves(self, seconds: float, files: Mapping[str, str]) -> Curves:
        return Curves(tuple(self.samples), tuple(self.strikes), files, seconds)


def _whole_periods(first: Counted, last: Counted) -> float:
    seconds = max(last.at_seconds - first.at_seconds, RATE_SECONDS)
    counted = PERIOD_SECONDS * (last.periods - first.periods)
    return counted if abs(counted - seconds) < PERIOD_SECONDS else seconds


# --- its words and its table --------------------------------------------------------------------


def count(data: Curves, kind: str) -> int:
    """How often the kernel struck in one way."""
    return sum(strike.count for strike in data.strikes if strike.kind == kind)


def finding(data: Curves) -> str:
    """Say in one line what the picture shows."""
    struck = [
        f"{number} {kind.struck[number > 1]}"
        for kind in KINDS
        if (number := count(data, kind.strike))
    ]
    return f"The kernel struck: {', '.join(struck)}" if struck else "The kernel has not struck"


def words(data: Curves) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(data)}.", *(_kind_in_words(kind, data) for kind in KINDS)]
    parts += [f"{strike.words}." for strike in data.strikes[:20]]
    return " ".join(parts)


def _kind_in_words(kind: Kind, data: Curves) -> str:
    values = [value for sample in data.samples if (value := kind.value(sample)) is not None]
    file = data.files.get(kind.name, "the limit")
    heading = kind.heading[0].upper() + kind.heading[1:]
    if not values:
        return f"{heading}: not counted here."
    limit = kind.limit(data.samples[-1])
    against = f"{file} is {kind.written(limit)}" if limit is not None else f"{file} sets no limit"
    now, most = kind.written(values[-1]), kind.written(max(values))
    return f"{heading}: now {now}, at most {most}; {against}."


def table(data: Curves) -> list[tuple[object, ...]]:
    """The same as rows, evenly thinned out to about 20, and all strikes with their times."""
    every = max(1, len(data.samples) // 20)
    timed: list[tuple[float, tuple[str, ...]]] = []
    for sample in data.samples[::every]:
        values = [(kind, kind.value(sample)) for kind in KINDS]
        cells = ("" if value is None else kind.written(value) for kind, value in values)
        timed.append((sample.at_seconds, (*cells, "")))
    name = {kind.strike: kind.struck[0] for kind in KINDS}
    for s in data.strikes:
        said = f"{name[s.kind]} ({s.count} times, until {s.until_seconds:.1f} s)"
        timed.append((s.at_seconds, (*("" for _ in KINDS), said)))
    found = [(f"{at:.1f}", *cells) for at, cells in sorted(timed, key=lambda each: each[0])]
    return [("second", *(kind.heading for kind in KINDS), "the kernel"), *found]


# --- drawing ------------------------------------------------------------------------------------

LEFT, WIDE, TOP, HIGH, STEP = 10.0, 71.0, 8.2, 9.0, 14.2  # where the plots are on their page
INCHES = 9.2
CHARACTERS = 66  # that stand on the whole width of a plot
LABEL_APART = 2.2  # between two labels, at least
BAR = 0.8  # its height


def page(data: Curves) -> Page:
    """Draw the curves, one below the other."""
    sheet = Page(TOP + len(KINDS) * STEP - 2, finding(data), inches=INCHES)
    for number, kind in enumerate(KINDS):
        panel = Panel(sheet, data, kind, TOP + number * STEP)
        panel.draw()
    panel.axes.write_seconds()
    return sheet


class Panel:
    """The curve of one kind, and its limit, `top` units from the page's edge."""

    def __init__(self, page: Page, data: Curves, kind: Kind, top: float) -> None:
        self.page, self.data, self.kind = page, data, kind
        self.samples = [each for each in data.samples if each.at_seconds <= data.seconds]
        values = [of(each) for each in self.samples for of in (kind.value, kind.limit)]
        unit = MIB if kind.name in ("memory", "io") else 1
        largest = max([value for value in values if value is not None], default=0)
        most = unit * nice(1.35 * max(largest / unit, 0.2))
        self.axes = Axes(page, (LEFT, top, WIDE, HIGH), data.seconds, most)

    def draw(self) -> None:
        self._write()
        for stretch in self._stretches(self.kind.value):
            self.axes.curve(stretch, colour=style.FIRST, line=2.4)
        for stretch in self._stretches(self.kind.limit):
            holds = stretch[-1][0] == self.samples[-1].at_seconds
            until = self.data.seconds if holds else stretch[-1][0]
            self.axes.steps(stretch, until, line=1.6, dashes=DASHES)
        if self.samples:
            self._label(self.kind.value(self.samples[-1]), self.kind.limit(self.samples[-1]))
        self._mark()

    def _write(self) -> None:
        for value, words in ((0, "0"), (self.axes.most, self.kind.written(self.axes.most))):
            self.axes.write(value, words)
        file = self.data.files.get(self.kind.name)
        missing = self.samples and not any(self._stretches(self.kind.value))
        beside = ": not counted here" if missing else f", limited by {file}" if file else ""
        heading = self.kind.heading + beside
        self.page.text(LEFT, self.axes.top - 0.6, heading, bold=True, at="bottom")

    def _stretches(self, of: Callable[[Sample], float | None]) -> Iterator[list[Point]]:
        """Yield (second, value) for each stretch in which there is a value."""
        points = [(sample.at_seconds, of(sample)) for sample in self.samples]
        for there, stretch in groupby(points, lambda point: point[1] is not None):
            if there:
                yield [(at, value) for at, value in stretch if value is not None]

    def _label(self, now: float | None, limit: float | None) -> None:
        """Write the last value and the limit at the end of their lines, clear of each other."""
        right, y = self.axes.right + 0.8, self.axes.y
        if limit is not None:
            self.page.text(right, y(limit), f"limit {self.kind.written(limit)}", bold=True)
        if now is not None:
            at = y(now)
            if limit is not None and abs(at - y(limit)) < LABEL_APART:
                below = y(limit) + LABEL_APART
                at = below if below <= self.axes.bottom else y(limit) - LABEL_APART
            self.page.text(right, at, f"now {self.kind.written(now)}")

    def _mark(self) -> None:
        """Mark where the kernel struck: a line with its name, if there is room, and a bar below."""
        top, bottom, free_from = self.axes.top, self.axes.bottom, 0.0
        for strike in self.data.strikes:
            if strike.kind != self.kind.strike or strike.at_seconds > self.data.seconds:
                continue
            at = self.axes.x(strike.at_seconds)
            until = self.axes.x(min(self.data.seconds, strike.until_seconds))
            self.page.line((at, top), (at, bottom), colour=style.KERNEL, dashes=DOTS, line=1.4)
            place = at, bottom - BAR, max(until - at, WIDE / 200), BAR
            self.page.box(*place, "none", fill=style.KERNEL, pad=0, above=2)
            wide = WIDE * (len(strike.words) + 4) / CHARACTERS
            is_late = at + wide > self.axes.right
            if (at - wide if is_late else at) >= free_from:
                free_from = at if is_late else at + wide
                name, left = f"\N{MULTIPLICATION X} {strike.words}", at + (-0.6 if is_late else 0.6)
                look: dict[str, Any] = {"bold": True, "right": is_late, "tab": True, "above": 5}
                self.page.text(left, top + 1.1, name, colour=style.KERNEL, **look)


def nice(amount: float) -> float:
    """Return the next round number that is not smaller: 1, 1.5, 2, 3, 5 or 7.5, 10 and so on."""
    power = 10.0 ** math.floor(math.log10(amount))
    steps = [step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10)]
    return next(step for step in steps if step >= amount * 0.999)
