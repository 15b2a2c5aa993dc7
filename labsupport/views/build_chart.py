"""Where a build's time went: a bar of seconds for each step, with the bytes that it added.

Two builds stand side by side on one scale, and what the second took from the cache is joined to
where the first had made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from labsupport.engine.builds import Build, BuildStep
from labsupport.views import style
from labsupport.views.amounts import amount

WIDTH = 9.2  # inches
TOP, HEADING, ROW, GAP, BOTTOM = 7.0, 4.4, 6.4, 1.4, 4.2  # on a page 100 units wide
BETWEEN = 6.0  # two builds
CHARACTER = 1.0  # how wide one is, of those that instructions are written in
SHORT = 0.05  # seconds that are not worth telling of what came from the cache
COLOURS = (style.FIRST, style.SECOND)
Rows = Sequence[Sequence[object]]


def show_build(build: Build) -> None:
    """Show a build's steps: seconds, bytes, what came from the cache, and where it failed."""
    style.show(figure_of([build]), words(build), table(build))


def show_rebuild(before: Build, after: Build) -> None:
    """Show two builds side by side, with what the second took from the cache."""
    shown = [before, after]
    style.show(figure_of(shown), words_of_rebuild(before, after), table_of_rebuild(before, after))


def figure_of(builds: Sequence[Build]) -> Figure:
    """Return a figure with one build, or with two of them."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(builds) / 100)
    draw_builds(figure.add_axes((0, 0, 1, 1)), builds)
    return figure


# --- in words ------------------------------------------------------------------------------------


def finding(build: Build) -> str:
    """Say in one line what the picture shows."""
    if failed := build.failed_step:
        return f"Step {_which(failed)} failed{_after(failed)}"
    work = [step for step in build.steps if step.keyword != "FROM"]
    cached = [step for step in work if step.cached]
    if work and len(cached) == len(work):
        return f"All from the cache{_in_all(build)}"
    timed = [step for step in build.steps if step.seconds is not None]
    if not timed:
        done = _count(build.steps, "step")
        return f"{done}, {len(cached)} of them from the cache" if cached else done
    longest = max(timed, key=lambda step: step.seconds or 0.0)
    of = f" of {seconds(build.seconds)}" if build.seconds else ""
    rest = f"; {_count(cached, 'step')} from the cache" if cached else ""
    return f"Step {_which(longest)} took {seconds(longest.seconds, of=build.seconds)}{of}{rest}"


def finding_of_rebuild(before: Build, after: Build) -> str:
    """Say in one line what became of the second build."""
    work = [step for step in after.steps if step.keyword != "FROM"]
    done = next((step for step in work if not step.cached), None)
    cached = [step for step in work if step.cached]
    times = ""
    if before.seconds and after.seconds is not None:
        times = f": {seconds(after.seconds)} instead of {seconds(before.seconds)}"
    if done is None:
        return f"All {len(work)} steps from the cache{times}"
    if not cached:
        return f"Nothing came from the cache{times}"
    if any(step.cached for step in work[work.index(done) :]):
        return f"{len(cached)} of {len(work)} steps from the cache{times}"
    return f"From step {_which(done)} on, all was done again{times}"


def words(build: Build) -> str:
    """Say all of it: the picture's text alternative."""
    return f"{finding(build)}. {' '.join(_sentences(build))}"


def words_of_rebuild(before: Build, after: Build) -> str:
    """Say all of both."""
    parts = [f"{finding_of_rebuild(before, after)}. The first build:", *_sentences(before)]
    return " ".join([*parts, "The second build:", *_sentences(after)])


def table(build: Build) -> list[tuple[object, ...]]:
    """The same as rows."""
    return [("step", "instruction", "seconds", "bytes added", ""), *map(_row, build.steps)]


def table_of_rebuild(before: Build, after: Build) -> list[tuple[object, ...]]:
    """Both, one below the other."""
    head = ("build", "step", "instruction", "seconds", "bytes added", "")
    rows = [("first", *_row(step)) for step in before.steps]
    return [head, *rows, *(("second", *_row(step)) for step in after.steps)]


def seconds(amount_: float | None, *, of: float | None = None) -> str:
    """Write a time: `24 s`, `7.8 s`, and without its unit before ` of …`."""
    if amount_ is None:
        return ""
    text = f"{amount_:.0f}" if amount_ >= 9.95 else f"{amount_:.1f}"
    return text if of else f"{text} s"


def _which(step: BuildStep) -> str:
    return f"{step.number} of {step.stage}" if step.stage else f"{step.number}"


def _after(step: BuildStep) -> str:
    return "" if step.seconds is None else f" after {seconds(step.seconds)}"


def _in_all(build: Build) -> str:
    return "" if build.seconds is None else f": {seconds(build.seconds)} in all"


def _count(found: Sequence[object], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


def _sentences(build: Build) -> Iterator[str]:
    for step in build.steps:
        yield f"Step {step.name} {_instruction(step)}: {_said(step) or 'no time told'}."


def _row(step: BuildStep) -> tuple[object, ...]:
    time = "" if step.seconds is None else f"{step.seconds:.1f}"
    added = "" if step.bytes is None else step.bytes
    mark = "FAILED" if step.failed else "CACHED" if step.cached else ""
    return (step.name, _instruction(step), time, added, mark)


def _said(step: BuildStep) -> str:
    """What stands beside a step's bar."""
    parts = ["FAILED" if step.failed else "CACHED" if step.cached else ""]
    if step.seconds is not None and not (step.cached and step.seconds < SHORT):
        parts.append(f"after {seconds(step.seconds)}" if step.failed else seconds(step.seconds))
    if step.bytes and not step.cached:
        verb = "brings" if step.keyword == "FROM" else "adds"
        parts.append(f"{verb} {amount(step.bytes)}")
    return ", ".join(part for part in parts if part)


def _instruction(step: BuildStep) -> str:
    """An instruction on one line, without the digest after a base image's name."""
    return " ".join(step.instruction.partition("@sha256:")[0].split())


def _short(step: BuildStep, most: int) -> str:
    text = f"{step.stage} {step.number}  {_instruction(step)}".strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"


# --- as a picture --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """Where a build stands on the page: its left edge and width, its colour, and the scale."""

    left: float
    wide: float
    top: float
    colour: str
    most_seconds: float

    def row(self, place: int) -> float:
        return self.top + place * (ROW + GAP)


def needed_height(builds: Sequence[Build]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    heading = HEADING if len(builds) > 1 else 0.0
    return TOP + heading + max(len(build.steps) for build in builds) * (ROW + GAP) + BOTTOM


def draw_builds(axes: Axes, builds: Sequence[Build]) -> None:
    """Draw one build, or two side by side, into `axes`, which fills its figure."""
    high = needed_height(builds)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    title = finding(builds[0]) if len(builds) == 1 else finding_of_rebuild(builds[0], builds[1])
    axes.text(1.5, 3.6, title, size=style.size("title"), weight="bold", va="center")
    columns = list(_columns(builds))
    if len(builds) > 1:
        _join(axes, builds, columns)
    for number, (build, column) in enumerate(zip(builds, columns, strict=True), start=1):
        if len(builds) > 1:
            _draw_heading(axes, build, column, number)
        for place, step in enumerate(build.steps):
            _draw_step(axes, step, column, column.row(place))
    axes.text(1.5, high - BOTTOM / 2, _key(builds), size=style.size("small"), va="center")


def _columns(builds: Sequence[Build]) -> Iterator[_Column]:
    wide = (97.6 - BETWEEN * (len(builds) - 1)) / len(builds)
    top = TOP + (HEADING if len(builds) > 1 else 0.0)
    times = [step.seconds or 0.0 for build in builds for step in build.steps]
    for number, _ in enumerate(builds):
        left = 1.2 + number * (wide + BETWEEN)
        yield _Column(left, wide, top, COLOURS[number], max(*times, 0.1))


def _key(builds: Sequence[Build]) -> str:
    timed = any(step.seconds is not None for build in builds for step in build.steps)
    parts = ["bars: seconds of each step" if timed else "the log tells no times"]
    if timed and len(builds) > 1:
        parts[0] += ", one scale"
    if any(step.cached for build in builds for step in build.steps):
        parts.append("grey, CACHED: taken from an earlier build")
    return ";  ".join(parts)


def _draw_heading(axes: Axes, build: Build, column: _Column, number: int) -> None:
    name = ("first build", "second build")[number - 1]
    time = f": {seconds(build.seconds)}" if build.seconds is not None else ""
    axes.text(column.left + 0.3, column.top - 2.6, f"{name}{time}", size=style.size("body"),
              va="center")  # fmt: skip


def _draw_step(axes: Axes, step: BuildStep, column: _Column, top: float) -> None:
    colour = style.KERNEL if step.failed else style.SHARED if step.cached else column.colour
    axes.add_artist(
        FancyBboxPatch(
            (column.left + 0.5, top + 0.5), column.wide - 1, ROW - 1, linewidth=1.4,
            boxstyle="round,pad=0.5", facecolor=_pale(colour), edgecolor=colour,
        )
    )  # fmt: skip
    most = int((column.wide - 2.6) / CHARACTER)
    # a shell's $ begins no formula
    axes.text(column.left + 1.4, top + 1.8, _short(step, most), size=style.size("small"),
              va="center", family="monospace", parse_math=False)  # fmt: skip
    length = -0.8
    if step.seconds is not None and not (step.cached and step.seconds < SHORT):
        room = column.wide * (0.62 if column.wide > 60 else 0.42)
        length = max(0.35, room * step.seconds / column.most_seconds)
        axes.add_artist(
            Rectangle((column.left + 1.4, top + 3.3), length, 2.0, linewidth=1, edgecolor=colour,
                      facecolor=style.PAPER if step.cached else colour,
                      hatch="////" if step.cached else None)
        )  # fmt: skip
    bold = "bold" if step.cached or step.failed else "normal"
    axes.text(column.left + 2.2 + length, top + 4.35, _said(step), size=style.size("small"),
              va="center", weight=bold)  # fmt: skip


def _join(axes: Axes, builds: Sequence[Build], columns: Sequence[_Column]) -> None:
    """Join each cached step with where the first build has the same instruction."""
    left, right = columns[0].left + columns[0].wide, columns[1].left
    for place, step in enumerate(builds[1].steps):
        came_from = _place_of(step, builds[0].steps)
        if step.cached and came_from is not None:
            a, b = columns[0].row(came_from) + 1.4, columns[1].row(place) + 1.4
            high = ROW - 2.8
            corners = [(left, a), (right, b), (right, b + high), (left, a + high)]
            axes.add_artist(Polygon(corners, facecolor=_pale(style.SHARED, 0.24), linewidth=0))


def _place_of(step: BuildStep, steps: Sequence[BuildStep]) -> int | None:
    """Find a step in another build, where a terminal may have cut off more or less of it."""
    for place, other in enumerate(steps):
        short, long = sorted((step.instruction, other.instruction), key=len)
        if step.stage == other.stage and long.startswith(short):
            return place
    return None


def _pale(colour: str, strength: float = 0.09) -> tuple[float, float, float]:
    """Mix a colour with paper: solid, so that what lies below does not show through."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (1 - strength * (1 - part) for part in parts)
    return red, green, blue
