"""Where a build's time went: a bar of seconds for each step, with the bytes that it added.

Two builds stand side by side on one scale, and what the second took from the cache is joined to
where the first had made it. All functions take one build, or the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.patches import Polygon, Rectangle

from labsupport.build.build import Build, BuildStep
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import amount

# --- a line of an image's history, as the instruction that it came from --------------------------
#
# Each builder writes its own: the classic one `/bin/sh -c #(nop) COPY file:5e1f… in /app `,
# BuildKit `COPY cli.py /app # buildkit`, and Podman `|1 A=1 /bin/sh -c make` where there are
# arguments.

SHELL = "/bin/sh -c "
NOTHING_RUN = "#(nop)"
LAYER_MAKERS = ("RUN", "COPY", "ADD", "WORKDIR")
OUR_LABEL = "LABEL org.labsupport"
_ARGUMENTS = re.compile(r"^\|\d+ (?:\S+=\S* )*(?=/bin/sh -c )")
_DIGEST = re.compile(r"\b((?:file|dir|multi):[0-9a-f]{6})[0-9a-f]+…?")


def instruction(created_by: str) -> str:
    """Return the line as it stands in a Dockerfile, as far as the history tells."""
    text = _ARGUMENTS.sub("", " ".join(created_by.split())).removesuffix(" # buildkit")
    if text.startswith(f"{SHELL}{NOTHING_RUN}"):
        text = text.removeprefix(f"{SHELL}{NOTHING_RUN}")
    elif text.startswith(SHELL):
        text = f"RUN {text.removeprefix(SHELL)}"
    text = text.replace(f"RUN {SHELL}", "RUN ", 1)
    return _DIGEST.sub(r"\1…", text.strip())


def keyword(created_by: str) -> str:
    """Return the instruction's first word, such as RUN."""
    return instruction(created_by).partition(" ")[0].upper()


def is_ours(created_by: str) -> bool:
    """Whether it is the label by which this course finds what it made."""
    return instruction(created_by).startswith(OUR_LABEL)


# --- in words ------------------------------------------------------------------------------------


def finding(*builds: Build) -> str:
    """Say in one line what the picture shows."""
    return _finding(*builds) if len(builds) == 1 else _finding_of_rebuild(*builds)


def _finding(build: Build) -> str:
    work = _work(build)
    cached = [step for step in work if step.cached]
    if work and len(cached) == len(work):
        return f"All from the cache: {seconds(build.seconds)} in all"
    longest = max(build.steps, key=lambda step: step.seconds or 0.0)
    took = seconds(longest.seconds)
    of = f"{took.removesuffix(' s')} of {seconds(build.seconds)}" if build.seconds else took
    rest = f"; {len(cached)} step{'' if len(cached) == 1 else 's'} from the cache" if cached else ""
    return f"Step {_which(longest)} took {of}{rest}"


def _finding_of_rebuild(before: Build, after: Build) -> str:
    work = _work(after)
    done = next((step for step in work if not step.cached), None)
    cached = [step for step in work if step.cached]
    times = f"{seconds(after.seconds)} instead of {seconds(before.seconds)}"
    if done is None:
        return f"All {len(work)} steps from the cache: {times}"
    if not cached:
        return f"Nothing came from the cache: {times}"
    if any(step.cached for step in work[work.index(done) :]):
        return f"{len(cached)} of {len(work)} steps from the cache: {times}"
    return f"From step {_which(done)} on, all was done again: {times}"


def words(*builds: Build) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(*builds)}."]
    for number, build in zip(("first", "second"), builds, strict=False):
        parts += [f"The {number} build:"] if len(builds) > 1 else []
        parts += [f"Step {step.name} {_one_line(step)}: {_said(step)}." for step in build.steps]
    return " ".join(parts)


def table(*builds: Build) -> list[tuple[object, ...]]:
    """The same as rows; two builds one below the other."""
    head = ("step", "instruction", "seconds", "bytes added", "")
    if len(builds) == 1:
        return [head, *map(_row, builds[0].steps)]
    names = ("first", "second")
    rows = [(name, *_row(step)) for name, build in zip(names, builds, strict=True)
            for step in build.steps]  # fmt: skip
    return [("build", *head), *rows]


def seconds(amount_: float | None) -> str:
    """Write a time: `24 s`, `7.8 s`; nothing for a step that has not ended."""
    if amount_ is None:
        return ""
    return f"{amount_:.0f} s" if amount_ >= 9.95 else f"{amount_:.1f} s"


def _work(build: Build) -> list[BuildStep]:
    return [step for step in build.steps if step.keyword != "FROM"]


def _which(step: BuildStep) -> str:
    return f"{step.number} of {step.stage}" if step.stage else f"{step.number}"


def _row(step: BuildStep) -> tuple[object, ...]:
    time = "" if step.seconds is None else f"{step.seconds:.1f}"
    added = "" if step.bytes is None else step.bytes
    return (step.name, _one_line(step), time, added, "CACHED" if step.cached else "")


def _said(step: BuildStep) -> str:
    """What is written next to a step's bar."""
    parts = ["CACHED" if step.cached else "", seconds(step.seconds) if _has_bar(step) else ""]
    if step.bytes and not step.cached:
        verb = "brings" if step.keyword == "FROM" else "adds"
        parts.append(f"{verb} {amount(step.bytes)}")
    return ", ".join(part for part in parts if part)


def _has_bar(step: BuildStep) -> bool:
    return step.seconds is not None and not (step.cached and step.seconds < SHORT)


def _one_line(step: BuildStep) -> str:
    return " ".join(step.instruction.split())


# --- as a picture --------------------------------------------------------------------------------

INCHES = 9.2
TOP, HEADING, ROW, GAP, BOTTOM = 7.0, 4.4, 6.4, 1.4, 4.2  # on a page 100 units wide
BETWEEN = 6.0  # two builds
SHORT = 0.05  # a cached step's seconds below this are not shown
COLOURS = (style.FIRST, style.SECOND)


@dataclass(frozen=True)
class _Column:
    """Where a build is on the page: its left edge and width, its colour, and the scale."""

    left: float
    wide: float
    top: float
    colour: str
    most_seconds: float

    def row(self, place: int) -> float:
        return self.top + place * (ROW + GAP)


def page(*builds: Build) -> Page:
    """Draw one build, or two side by side."""
    columns = list(_columns(builds))
    high = columns[0].row(max(len(build.steps) for build in builds)) + BOTTOM
    sheet = Page(high, finding(*builds), inches=INCHES)
    if len(builds) > 1:
        _join(sheet, builds, columns)
        for name, build, column in zip(("first", "second"), builds, columns, strict=True):
            heading = f"{name} build: {seconds(build.seconds)}"
            sheet.text(column.left + 0.3, column.top - 2.6, heading, "body")
    for build, column in zip(builds, columns, strict=True):
        for place, step in enumerate(build.steps):
            _draw_step(sheet, step, column, column.row(place))
    sheet.text(1.5, high - BOTTOM / 2, _key(builds))
    return sheet


def show(*builds: Build) -> None:
    """Show them in the notebook."""
    page(*builds).show(words(*builds), table(*builds))


def _columns(builds: Sequence[Build]) -> Iterator[_Column]:
    wide = (97.6 - BETWEEN * (len(builds) - 1)) / len(builds)
    top = TOP + (HEADING if len(builds) > 1 else 0.0)
    times = [step.seconds or 0.0 for build in builds for step in build.steps]
    for number, _ in enumerate(builds):
        left = 1.2 + number * (wide + BETWEEN)
        yield _Column(left, wide, top, COLOURS[number], max(*times, 0.1))


def _key(builds: Sequence[Build]) -> str:
    scale = ", one scale" if len(builds) > 1 else ""
    is_cached = any(step.cached for build in builds for step in build.steps)
    grey = ";  grey, CACHED: taken from an earlier build" if is_cached else ""
    return f"bars: seconds of each step{scale}{grey}"


def _draw_step(sheet: Page, step: BuildStep, column: _Column, top: float) -> None:
    colour = style.SHARED if step.cached else column.colour
    corner = (column.left, top)
    sheet.box(*corner, column.wide, ROW, colour, fill=f"{colour}17", pad=0.5, linewidth=1.4)
    text = f"{step.stage} {step.number}  {_one_line(step)}".strip()
    most = int(column.wide - 2.6)  # characters: one is as wide as a unit
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    sheet.text(column.left + 1.4, top + 1.8, text, mono=True)
    length = _draw_bar(sheet, step, column, top, colour) if _has_bar(step) else -0.8
    sheet.text(column.left + 2.2 + length, top + 4.35, _said(step), bold=step.cached)


def _draw_bar(sheet: Page, step: BuildStep, column: _Column, top: float, colour: str) -> float:
    room = column.wide * (0.62 if column.wide > 60 else 0.42)
    length = max(0.35, room * (step.seconds or 0.0) / column.most_seconds)
    bar = Rectangle((column.left + 1.4, top + 3.3), length, 2.0, linewidth=1, edgecolor=colour)
    bar.set_facecolor(style.PAPER if step.cached else colour)
    if step.cached:
        bar.set_hatch("////")
    sheet.axes.add_artist(bar)
    return length


def _join(sheet: Page, builds: Sequence[Build], columns: Sequence[_Column]) -> None:
    """Join each cached step with where the first build has the same instruction."""
    left, right = columns[0].left + columns[0].wide, columns[1].left
    for place, step in enumerate(builds[1].steps):
        came_from = _place_of(step, builds[0].steps)
        if step.cached and came_from is not None:
            a, b = columns[0].row(came_from) + 1.4, columns[1].row(place) + 1.4
            high = ROW - 2.8
            corners = [(left, a), (right, b), (right, b + high), (left, a + high)]
            sheet.axes.add_artist(Polygon(corners, facecolor=f"{style.SHARED}3D", linewidth=0))


def _place_of(step: BuildStep, steps: Sequence[BuildStep]) -> int | None:
    same = (step.stage, step.instruction)
    places = (at for at, other in enumerate(steps) if (other.stage, other.instruction) == same)
    return next(places, None)
