"""Read a build's steps from a pasted log: BuildKit's, the classic builder's or Podman's.

What BuildKit's client prints is told by its source,
https://github.com/moby/buildkit/tree/master/util/progress/progressui: to a terminal,
` => CACHED [2/4] RUN …   0.0s`, redrawn in place; elsewhere, `#7 [2/4] RUN …` and later `#7 CACHED`
or `#7 DONE 1.2s`. The other two say no times, unless each line has its time before it, as the logs
of many CI services have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from labsupport.engine.build import line_reader, trace_reader
from labsupport.engine.build.step import BuildStep, longer
from labsupport.errors import BuildLogUnreadable

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STAMP = re.compile(r"\[?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?)\]?:? ?")
_PLAIN = re.compile(r"#(\d+) (.*)")
_TERMINAL = re.compile(r"\s*=> (CACHED |ERROR |CANCELED )?(?!=> )(.*?)(?:\s+(\d+\.\d)s?)?\s*$")
_NEXT = re.compile(r"\s=> (?=(?:CACHED |ERROR |CANCELED )?\[)")
_TIMES = re.compile(r"(?:\s+\d+\.\ds)+\s*$")
_HEADER = re.compile(r"\[\+\] Building (\d+\.\d)s ")
_DONE = re.compile(r"DONE(?: (\d+\.\d+)s)?$")
_PRINTED = re.compile(r"\d+\.\d+ (.*)")
_SENT = re.compile(
    r"(?:transferring context:|build context to Docker daemon) +(\d+(?:\.\d+)?) ?([kMG]?B)"
)
_IMAGE = re.compile(r"(?:writing image|exporting manifest(?: list)?) (sha256:[0-9a-f]{12,64})")
_NAMED = re.compile(r"naming to (\S+)")
_TAGGED = re.compile(r"\s*Successfully tagged (\S+)")
_BUILT = re.compile(r"\s*Successfully built ([0-9a-f]{12,64})")
_FAILED_STEP = re.compile(r"\s*> (\[.*?\d+/\d+\] .*):\s*$")
_ERROR = re.compile(r"(?:returned a non-zero code|exit code|exit status|^Error: |^ERROR: )")
_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


@dataclass
class Read:
    """What a log told; the words are those of `Build`."""

    builder: str
    steps: list[BuildStep]
    image_id: str | None = None
    tag: str | None = None
    seconds: float | None = None
    context_bytes: int | None = None


@dataclass(frozen=True)
class Line:
    """A line without colours, and its time in seconds since 1970, if it has one."""

    text: str
    at_seconds: float | None = None


def read(text: str) -> Read:
    """Find out whose log it is, and read it.

    Raises:
        BuildLogUnreadable: there is no step in it of any builder that we know.

    """
    lines = [_line(line) for line in text.splitlines()]
    readers: tuple[Callable[[Sequence[Line]], Read], ...] = (_plain, _terminal, _line_by_line)
    best = max((reader(lines) for reader in readers), key=lambda found: len(found.steps))
    if not best.steps:
        raise BuildLogUnreadable(
            "this is no build's log that we can read",
            "looked for steps as BuildKit writes them (=> [2/4] RUN …, or #7 [2/4] RUN …), the "
            "classic builder (Step 2/4 : RUN …) and Podman (STEP 2/4: RUN …); "
            + (f"it begins with {lines[0].text[:60]!r}" if lines else "it is empty"),
            "paste all that `docker build` printed, from its first line on",
        )
    for line in lines:
        _remark(best, line.text)
    return best


def _line(text: str) -> Line:
    text = _COLOUR.sub("", text).rstrip("\r")
    if not (found := _STAMP.match(text)):
        return Line(text)
    # Python 3.11 takes no more than six digits of a second
    stamp = re.sub(r"(\.\d{6})\d+", r"\1", found[1]).replace("Z", "+00:00")
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:  # it only looks like one: 25 o'clock
        return Line(text)
    return Line(text[found.end() :], at.timestamp())


def _remark(read: Read, text: str) -> None:
    """Take what a line tells of the build as a whole."""
    if found := _SENT.search(text):
        size = round(float(found[1]) * _UNITS[found[2]])
        read.context_bytes = max(size, read.context_bytes or 0)
    if found := _IMAGE.search(text) or _BUILT.match(text):
        read.image_id = found[1]
    if found := _NAMED.search(text) or _TAGGED.match(text):
        read.tag = found[1].removeprefix("docker.io/").removeprefix("library/")


@dataclass
class _Named:
    """Steps by what the log calls them: a number, or what stands in brackets."""

    steps: dict[str, BuildStep] = field(default_factory=dict)

    def change(self, key: str, **facts: object) -> None:
        self.steps[key] = replace(self.steps[key], **facts)  # type: ignore[arg-type]

    def begin(self, key: str, name: str) -> None:
        found = trace_reader.STEP.match(name)
        if found and key not in self.steps:
            self.steps[key] = trace_reader.of_match(found)

    def print(self, key: str, text: str) -> None:
        self.change(key, output=longer(self.steps[key].output, f"{text}\n"))


def _plain(lines: Sequence[Line]) -> Read:
    known = _Named()
    seconds: dict[str, float] = {}
    for line in lines:
        if not (found := _PLAIN.match(line.text)):
            continue
        key, said = found[1], found[2]
        known.begin(key, said)
        if done := _DONE.match(said):
            seconds[key] = float(done[1] or 0)
        if key not in known.steps:
            continue
        if done:
            known.change(key, ended=True, seconds=seconds[key])
        elif said == "CACHED":
            known.change(key, ended=True, cached=True, seconds=0.0)
        elif said.startswith("ERROR"):
            known.change(key, ended=True, failed=True)
        elif printed := _PRINTED.match(said):
            known.print(key, printed[1])
    steps = trace_reader.in_order(known.steps.values())
    return Read("buildkit", steps, seconds=sum(seconds.values()))


def _terminal(lines: Sequence[Line]) -> Read:
    known = _Named()
    rows: dict[str, float] = {}
    seconds, failed = None, ""
    for text in (part for line in lines for part in _apart(line.text)):
        if found := _TERMINAL.match(text):
            rows[found[2]] = float(found[3] or 0)
            _row(known, found)
        elif header := _HEADER.match(text):
            seconds = float(header[1])
        elif named := _FAILED_STEP.match(text):
            failed = named[1].partition("] ")[0]
        elif text.startswith("------"):
            failed = ""
        elif failed in known.steps:
            words = re.sub(r"^#\d+ ", "", text)
            printed = _PRINTED.match(words)
            known.print(failed, printed[1] if printed else words)
    steps = trace_reader.in_order(known.steps.values())
    return Read("buildkit", steps, seconds=sum(rows.values()) if seconds is None else seconds)


def _apart(text: str) -> list[str]:
    """Take rows apart that were joined when they were copied: `=> A => B  1.0s 2.0s`."""
    rows = _NEXT.split(text)
    times = _TIMES.search(text)
    if len(rows) == 1 or not times or len(found := times[0].split()) != len(rows):
        return [text]
    rows[-1] = rows[-1][: _TIMES.search(rows[-1]).start()]  # type: ignore[union-attr]
    starts = [rows[0], *(f"=> {row}" for row in rows[1:])]
    return [f"{row} {seconds}" for row, seconds in zip(starts, found, strict=True)]


def _row(known: _Named, row: re.Match[str]) -> None:
    name = row[2].partition("] ")[0]
    known.begin(name, row[2])
    if name in known.steps:
        known.change(
            name,
            ended=row[1] != "CANCELED ",
            cached=row[1] == "CACHED ",
            failed=row[1] == "ERROR ",
            seconds=None if row[3] is None else float(row[3]),
        )


def _line_by_line(lines: Sequence[Line]) -> Read:
    steps = [found for line in lines if (found := line_reader.STEP.match(line.text))]
    stages = sum(found[4].upper().startswith("FROM ") for found in steps)
    reader = line_reader.LineReader(stages)
    times = [line.at_seconds for line in lines if line.at_seconds is not None]
    for line in lines:
        reader.feed(f"{line.text}\n", line.at_seconds)
    last = lines[-1].text if lines else ""
    reader.finish(times[-1] if times else None, failed=bool(_ERROR.search(last)))
    builder = "podman" if any(found[1] for found in steps) else "classic"
    seconds = times[-1] - times[0] if times else None
    return Read(builder, _numbered(reader.steps), seconds=seconds)


def _numbered(steps: Sequence[BuildStep]) -> list[BuildStep]:
    """Number them from 1 where an old builder counted from 0, or did not say of how many."""
    if all(step.total for step in steps):
        return list(steps)
    return [
        replace(step, number=number, total=len(steps)) for number, step in enumerate(steps, start=1)
    ]
