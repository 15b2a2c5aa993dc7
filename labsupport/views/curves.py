"""Three curves of a control group: memory, CPUs and tasks in use, each against its limit.

A limit is a dashed line with its value, usage a solid one; where the kernel struck (an OOM kill, a
throttled stretch, refused forks) stands a mark with its name and time. Plain data in, a scene for
`views.painter` out: all is laid out on a page 100 units wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from labsupport.views.painter import Box, Scene

LEFT, RIGHT = 8.5, 82.0  # the plot's edges; its labels stand right of it
TITLE_HIGH, HEADING_HIGH, AXIS_HIGH, GAP = 4.8, 3.0, 3.4, 1.0
LINE_HIGH = 2.3  # of a label
CHARACTER_WIDE = 1.08  # of a mark's words, which stand right of it, or left at the plot's end
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One reading: bytes, CPUs (CPU seconds for each second), tasks; None: no such controller.

    `at_seconds` counts from when watching began; a limit is None where none is set.
    """

    at_seconds: float
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpus: float | None = None
    cpu_limit: float | None = None
    tasks: int | None = None
    task_limit: int | None = None


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
        """Say it as its mark does."""
        at = f"{self.at_seconds:.1f} s"
        if self.kind == "oom_kill":
            return f"OOM kill, {at}" if self.count == 1 else f"{self.count} OOM kills, {at}"
        if self.kind == "throttled":
            return f"throttled from {at}"
        return f"fork refused, {at}" if self.count == 1 else f"forks refused from {at}"


@dataclass(frozen=True)
class Curves:
    """What is drawn: the readings and strikes of `seconds` from `begin` on, and the limits' files.

    `files` maps memory, cpu and pids to the names of the limits' files, which differ in v1 and v2.
    """

    samples: tuple[Sample, ...]
    strikes: tuple[Strike, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    begin: float = 0.0
    seconds: float = 8.0


@dataclass(frozen=True)
class Kind:
    """One of the three curves: what it is called, where its numbers are, how they are written."""

    name: str
    heading: str
    strike: str
    value: Callable[[Sample], float | None]
    limit: Callable[[Sample], float | None]
    written: Callable[[float], str]


def bytes_in_words(amount: float) -> str:
    """Write an amount of memory: `64 MiB`, `812 KiB`."""
    if amount >= 10 * MIB or amount % MIB == 0:
        return f"{amount / MIB:.0f} MiB"
    return f"{amount / MIB:.1f} MiB" if amount >= MIB else f"{amount / 1024:.0f} KiB"


def cpus_in_words(amount: float) -> str:
    """Write a number of CPUs: `0.2 CPUs`."""
    return f"{amount:.2f}".rstrip("0").rstrip(".") + (" CPU" if amount == 1 else " CPUs")


def tasks_in_words(amount: float) -> str:
    """Write a number of tasks."""
    return f"{amount:.0f} task" if amount == 1 else f"{amount:.0f} tasks"


KINDS = (
    Kind("memory", "memory in use", "oom_kill",
         lambda s: s.memory_bytes, lambda s: s.memory_limit_bytes, bytes_in_words),
    Kind("cpu", "CPUs in use", "throttled",
         lambda s: s.cpus, lambda s: s.cpu_limit, cpus_in_words),
    Kind("pids", "processes and threads", "fork_refused",
         lambda s: s.tasks, lambda s: s.task_limit, tasks_in_words),
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A strike: its place, its words (none where there is no room), and on which side they are."""

    place: float
    words: str
    before: bool


@dataclass(frozen=True)
class Panel:
    """What stands still in one curve's box: heading, scale, marks."""

    box: Box
    heading: str
    ticks: tuple[tuple[float, str], ...]
    limit: tuple[float, str] | None = None
    marks: tuple[Mark, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Backdrop:
    """All that changes seldom: the panels, and the time axis as (place, words)."""

    panels: tuple[Panel, ...]
    times: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Label:
    """The last value, beside the end of the line, at a height on the page."""

    place: float
    words: str


@dataclass(frozen=True)
class Curve:
    """What changes with each reading: the line on the page.

    `steps` are the limit's lines as (left, right, height on the page), `bars` the stretches in
    which the kernel struck as (left, right), `floor` is where they stand.
    """

    points: tuple[tuple[float, float], ...]
    floor: float
    steps: tuple[tuple[float, float, float], ...] = ()
    bars: tuple[tuple[float, float], ...] = ()


def scene(data: Curves, high: float) -> Scene:
    """Lay the curves out on a page 100 units wide and `high` units high."""
    each = (high - TITLE_HIGH - AXIS_HIGH) / len(KINDS)
    panels: list[Panel] = []
    tiles: dict[Box, Curve | Label | str] = {(1, 0.6, 98, TITLE_HIGH - 0.8): finding(data)}
    for number, kind in enumerate(KINDS):
        top = TITLE_HIGH + number * each + HEADING_HIGH
        box = (LEFT, top, RIGHT - LEFT, each - HEADING_HIGH - GAP)
        scale = _Scale(kind, data, box)
        panels.append(scale.panel())
        # a little wider than the box, since lines have a width
        tiles[LEFT - 0.6, top - 0.4, RIGHT - LEFT + 1, box[3] + 0.8] = scale.curve()
        tiles[RIGHT + 0.6, top - 1, 99 - RIGHT, box[3] + 2] = scale.label()
    return Scene(Backdrop(tuple(panels), tuple(_times(data))), tiles)


def _times(data: Curves) -> Iterator[tuple[float, str]]:
    step = next(step for step in (1, 2, 5, 10, 20, 60) if data.seconds / step <= 10)
    first = math.ceil(data.begin / step) * step
    for second in range(first, math.floor(data.begin + data.seconds) + 1, step):
        place = LEFT + (second - data.begin) / data.seconds * (RIGHT - LEFT)
        yield place, f"{second} s"


class _Scale:
    """Places the numbers of one kind in its box."""

    def __init__(self, kind: Kind, data: Curves, box: Box) -> None:
        self.kind, self.data, self.box = kind, data, box
        end = data.begin + data.seconds
        self.samples = [s for s in data.samples if data.begin <= s.at_seconds <= end]
        seen = [value for s in self.samples if (value := kind.value(s)) is not None]
        limits = [value for s in self.samples if (value := kind.limit(s)) is not None]
        self.is_there = bool(seen) or not self.samples
        unit = MIB if kind.name == "memory" else 1
        self.floor = box[1] + box[3]
        self.top = unit * nice(1.35 * max([*seen, *limits, 0.2 * unit]) / unit)

    def x(self, seconds: float) -> float:
        """Return the place of a moment on the page."""
        left, _, width, _ = self.box
        return left + (seconds - self.data.begin) / self.data.seconds * width

    def y(self, value: float) -> float:
        """Return the height of a value on the page, where 0 is the top."""
        _, top, _, high = self.box
        return top + high * (1 - min(value, self.top) / self.top)

    def panel(self) -> Panel:
        kind, file = self.kind, self.data.files.get(self.kind.name, "")
        heading = f"{kind.heading}, limited by {file}" if file else kind.heading
        if not self.is_there:
            return Panel(self.box, heading, (), missing="no such controller here")
        ticks = ((self.y(0), "0"), (self.y(self.top), kind.written(self.top)))
        limit = kind.limit(self.samples[-1]) if self.samples else None
        label = None if limit is None else (self.y(limit), f"limit {kind.written(limit)}")
        return Panel(self.box, heading, ticks, label, tuple(self._marks()))

    def _steps(self) -> Iterator[tuple[float, float, float]]:
        """Yield a line for each stretch of time in which the limit did not change."""
        begin, before = self.box[0], None
        for number, sample in enumerate(self.samples):
            limit = self.kind.limit(sample)
            if number and limit != before:
                if before is not None:
                    yield begin, self.x(sample.at_seconds), self.y(before)
                begin = self.x(sample.at_seconds)
            before = limit
        if before is not None:
            yield begin, self.box[0] + self.box[2], self.y(before)

    def _strikes(self) -> Iterator[Strike]:
        end = self.data.begin + self.data.seconds
        for strike in self.data.strikes:
            if strike.kind == self.kind.strike and self.data.begin <= strike.at_seconds <= end:
                yield strike

    def _marks(self) -> Iterator[Mark]:
        free_from = 0.0
        for strike in self._strikes():
            left = self.x(strike.at_seconds)
            wide = 4 + len(strike.words) * CHARACTER_WIDE
            before = left + wide > RIGHT
            room = (left - wide if before else left) >= free_from
            if room:
                free_from = left if before else left + wide
            yield Mark(left, strike.words if room else "", before)

    def _bars(self) -> Iterator[tuple[float, float]]:
        end = self.data.begin + self.data.seconds
        for strike in self._strikes():
            yield self.x(strike.at_seconds), self.x(min(end, strike.until_seconds))

    def curve(self) -> Curve:
        points = tuple(
            (self.x(sample.at_seconds), self.y(value))
            for sample in self.samples
            if (value := self.kind.value(sample)) is not None
        )
        return Curve(points, self.floor, tuple(self._steps()), tuple(self._bars()))

    def label(self) -> Label:
        value = self.kind.value(self.samples[-1]) if self.samples else None
        if value is None:
            return Label(self.floor, "")
        limit = self.kind.limit(self.samples[-1])
        place = _beside(self.y(value), None if limit is None else self.y(limit), self.floor)
        return Label(place, f"now {self.kind.written(value)}")


def _beside(now: float, limit: float | None, floor: float) -> float:
    """Return the height for the value's label, clear of that of the limit."""
    if limit is None or abs(now - limit) >= LINE_HIGH:
        return now
    below = limit + LINE_HIGH
    return below if below <= floor + 0.4 else limit - LINE_HIGH


def nice(amount: float) -> float:
    """Return the next round number that is not smaller: 1, 1.5, 2, 3, 5 or 7.5, 10 and so on."""
    power = 10.0 ** math.floor(math.log10(amount))
    return next(
        step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if step * power >= amount * 0.999
    )


def count(data: Curves, kind: str) -> int:
    """How often the kernel struck in one way."""
    return sum(strike.count for strike in data.strikes if strike.kind == kind)


def finding(data: Curves) -> str:
    """Say in one line what the picture shows."""
    parts = [
        _times_in_words(count(data, "oom_kill"), "OOM kill", "OOM kills"),
        _times_in_words(count(data, "throttled"), "period throttled", "periods throttled"),
        _times_in_words(count(data, "fork_refused"), "fork refused", "forks refused"),
    ]
    if struck := [part for part in parts if part]:
        return f"The kernel struck: {', '.join(struck)}"
    return "Nothing has reached its limit"


def _times_in_words(number: int, one: str, many: str) -> str:
    return "" if not number else f"1 {one}" if number == 1 else f"{number} {many}"


def words(data: Curves) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(data)}.", *(_kind_in_words(kind, data) for kind in KINDS)]
    parts += [f"{strike.words}." for strike in data.strikes[:20]]
    return " ".join(parts)


def _kind_in_words(kind: Kind, data: Curves) -> str:
    values = [value for sample in data.samples if (value := kind.value(sample)) is not None]
    file, heading = (
        data.files.get(kind.name, "the limit"),
        kind.heading[0].upper() + kind.heading[1:],
    )
    if not values:
        return f"{heading}: not counted here."
    limit = kind.limit(data.samples[-1])
    against = f"{file} is {kind.written(limit)}" if limit is not None else f"{file} sets no limit"
    now, most = kind.written(values[-1]), kind.written(max(values))
    return f"{heading}: now {now}, at most {most}; {against}."


def table(data: Curves, rows: int = 20) -> list[tuple[object, ...]]:
    """The same as rows, evenly thinned out to about `rows`, and all strikes with their times."""
    found: list[tuple[object, ...]] = [("second", *(kind.heading for kind in KINDS), "the kernel")]
    every = max(1, len(data.samples) // rows)
    timed = [(sample.at_seconds, _row(sample)) for sample in data.samples[::every]]
    timed += [(s.at_seconds, ("", "", "", _strike_row(s))) for s in data.strikes]
    found += [(f"{at:.1f}", *cells) for at, cells in sorted(timed, key=lambda each: each[0])]
    return found


def _row(sample: Sample) -> tuple[object, ...]:
    values: Sequence[float | None] = [kind.value(sample) for kind in KINDS]
    cells = (
        "" if value is None else kind.written(value)
        for kind, value in zip(KINDS, values, strict=True)
    )
    return (*cells, "")


def _strike_row(strike: Strike) -> str:
    name = {"oom_kill": "OOM kill", "throttled": "period throttled", "fork_refused": "fork refused"}
    return f"{name[strike.kind]} ({strike.count} times, until {strike.until_seconds:.1f} s)"
