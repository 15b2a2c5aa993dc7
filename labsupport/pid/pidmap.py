"""The PID map: each process once, with its number in every PID namespace it lives in.

Boxes in boxes, as the kernel nests them: the host around the sandboxes, these around namespaces
made inside. The numbers are the kernel's own, from `NSpid` in /proc/PID/status.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import ipywidgets

from labsupport.errors import LabError, nearest
from labsupport.figure import style
from labsupport.figure.live import LivePicture, Shown, slider
from labsupport.figure.page import Page
from labsupport.kernel import procfs
from labsupport.kernel.procfs import ProcessSnapshot
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

INCHES = 9.2
ROWS = 7  # what fits below each other
HIGH, GAP = 4.6, 0.9  # of a process, and between two
COLUMN = 8.0  # width of a number
SPARE = 5.5  # units of height kept free for a process to come
GROUPS_TOP = 15.4  # below the notebook
HOST = "the host"
DIGIT = 0.636 * 12 / 72 * 100 / INCHES  # width of one of 12 points: all are as wide
LINGER_SECONDS = 1.0  # how long an ended process is still shown
EXTRA = ["sleep", "3600"]  # what the sliders start


@dataclass(frozen=True)
class Group:
    """A PID namespace: its name, its inode number, the processes in it and the groups inside."""

    label: str
    inode: int
    processes: tuple[ProcessSnapshot, ...]
    inner: tuple[Group, ...] = ()

    def everyone(self) -> Iterator[ProcessSnapshot]:
        """The processes in it and in the namespaces below it."""
        yield from self.processes
        for group in self.inner:
            yield from group.everyone()


@dataclass(frozen=True)
class PidMapData:
    """What is drawn: the notebook's own process, the namespaces, who has just ended, who looks."""

    notebook: ProcessSnapshot
    groups: tuple[Group, ...]
    ended: frozenset[int] = frozenset()
    viewer: str = HOST

    @property
    def viewer_inode(self) -> int:
        """The PID namespace of the one who looks."""
        of_groups = {each.label: each.inode for each in self.groups}
        return of_groups.get(self.viewer, self.notebook.namespaces["pid"])

    def numbers(self, process: ProcessSnapshot) -> tuple[int, ...]:
        """A process's numbers that the viewer has, its own first; none for those it cannot see."""
        spaces = process.pid_namespaces
        if self.viewer_inode not in spaces:
            return ()
        return process.pids[spaces.index(self.viewer_inode) - len(spaces) :]

    def seen(self) -> list[int]:
        """The numbers by which the viewer knows the processes on the map."""
        shown = [self.notebook, *(p for each in self.groups for p in each.everyone())]
        return [numbers[0] for process in shown if (numbers := self.numbers(process))]


def group(label: str, inode: int, processes: Sequence[ProcessSnapshot], depth: int = 1) -> Group:
    """Sort the processes of one sandbox into its PID namespace and those nested in it."""
    here = tuple(p for p in processes if len(p.pids) == depth + 1)
    below = [p for p in processes if len(p.pids) > depth + 1]
    inner = tuple(
        group("made inside", deeper, [p for p in below if deeper in p.pid_namespaces], depth + 1)
        for deeper in dict.fromkeys(p.pid_namespaces[depth + 1] for p in below)
    )
    return Group(label, inode, here, inner)


def finding(data: PidMapData) -> str:
    """Say in one line what the picture shows."""
    everyone = [p for g in data.groups for p in g.everyone()]
    if data.viewer != HOST:
        seen = data.seen()
        numbers = ", ".join(map(str, seen)) if len(seen) < ROWS else f"1 and {len(seen) - 1} more"
        unseen = len(everyone) + 1 - len(seen)
        return f"The {data.viewer} sees PID {numbers}; {unseen} others it cannot see"
    alive = [p for p in everyone if p.pids[-1] == 1 and p.pid not in data.ended]
    if not alive:
        return "No PID 1 in any of these namespaces: they are empty"
    outside = ", ".join(str(p.pid) for p in alive)
    times = {1: "once", 2: "twice", 3: "three times"}.get(len(alive), f"{len(alive)} times")
    return f"PID 1 {times}: the host calls {'it' if len(alive) == 1 else 'them'} {outside}"


def words(data: PidMapData) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(data)}. On the host, this notebook is PID {data.notebook.pid}."]
    for each in data.groups:
        parts.extend(_group_words(each, data))
    return " ".join(parts)


def _group_words(group: Group, data: PidMapData) -> Iterator[str]:
    yield f"In the PID namespace of {group.label}:"
    for process in group.processes:
        inside, *outer = reversed(process.pids)
        numbers = f"PID {inside} here, {outer[-1]} on the host"
        if len(outer) > 1:
            numbers += ", " + ", ".join(f"{pid} in the parent" for pid in outer[:-1])
        unseen = "" if data.numbers(process) else f", not seen by the {data.viewer}"
        ended = ", just ended" if process.pid in data.ended else ""
        yield f"{process.label} is {numbers}{ended}{unseen}."
    if not group.processes:
        yield "nobody."
    for inner in group.inner:
        yield from _group_words(inner, data)


def table(data: PidMapData) -> list[tuple[object, ...]]:
    """The same as rows: program, its numbers (outermost first), its namespace."""
    rows: list[tuple[object, ...]] = [("program", "PIDs, outermost first", "PID namespace")]
    rows.append(("this notebook", data.notebook.pid, data.notebook.namespaces["pid"]))
    for each in data.groups:
        rows += [
            (p.label, ", ".join(map(str, p.pids)), f"{p.namespaces['pid']} ({each.label})")
            for p in each.everyone()
        ]
    return rows


Box = tuple[float, float, float, float]  # left, top, width, height


def needed_height(data: PidMapData) -> float:
    """How high a page, 100 units wide, the map needs."""
    return GROUPS_TOP + 3.6 + max((_group_height(each) for each in data.groups), default=0)


def _group_height(group: Group) -> float:
    rows = min(ROWS, len(group.processes)) * (HIGH + GAP)
    inner = sum(_group_height(each) + 1.8 for each in group.inner)
    more = 2.5 if len(group.processes) > ROWS else 0
    return 4.8 + max(rows + inner + more, HIGH)


def page(data: PidMapData, least: float = 0) -> Page:
    """Draw the map, on a page of the height that it needs, or of `least` units."""
    high = max(needed_height(data), least)
    sheet = Page(high, finding(data), inches=INCHES)
    mine = data.numbers(data.notebook)
    _draw_frame(sheet, (0.8, 6, 98.4, high - 7), style.HOST if mine else style.PALE, HOST)
    numbers = [(pid, 27.4, style.HOST) for pid in mine]
    _draw_chip(sheet, (2.4, 8.4, 26.6, HIGH), "this notebook", numbers)
    width = (95.2 - 1.6 * (len(data.groups) - 1)) / max(1, len(data.groups))
    for index, each in enumerate(data.groups):
        box = (2.4 + index * (width + 1.6), GROUPS_TOP, width, high - GROUPS_TOP - 2.6)
        _draw_group(sheet, data, each, box, (style.WHO[index % len(style.WHO)], style.HOST))
    return sheet


def _draw_group(
    sheet: Page, data: PidMapData, group: Group, box: Box, colours: tuple[str, ...]
) -> None:
    """Draw a namespace, its processes and what is nested in it; `colours` innermost first."""
    left, top, width, height = box
    shown = group.processes[:ROWS]
    known = max((len(data.numbers(p)) for p in shown), default=0)
    seen = known or data.viewer in (HOST, group.label)
    label = group.label if seen else f"{group.label}: not seen"
    _draw_frame(sheet, box, colours[0] if seen else style.PALE, label)
    edges = [left + width - 2.4 - COLUMN * n for n in reversed(range(len(colours)))]
    captions = ["in here", *["parent"] * (len(colours) - 2), "host"][:known]
    for right, caption in zip(edges, captions, strict=False):
        sheet.text(right, top + 2.5, caption, right=True)
    if not group.processes and not group.inner:
        middle = (left + width / 2, top + height / 2)
        sheet.text(*middle, "empty: nothing lives here", "body", centre=True, italic=True)
    if more := group.processes[ROWS:]:
        sheet.text(left + 2, top + height - 1.8, f"… and {len(more)} more processes")
    at = top + 3.7
    for process in shown:
        numbers = list(zip(reversed(data.numbers(process)), edges, colours, strict=False))
        place = (left + 1.2, at, width - 2.4, HIGH)
        _draw_chip(sheet, place, process.label, numbers, process.pid in data.ended)
        at += HIGH + GAP
    others = [colour for colour in style.WHO[::-1] if colour not in colours] or [style.SHARED]
    for number, inner in enumerate(group.inner):
        place = (left + 1.2, at + 1.2, width - 2.4, _group_height(inner))
        _draw_group(sheet, data, inner, place, (others[number % len(others)], *colours))
        at += place[3] + 1.8


def _draw_frame(sheet: Page, box: Box, colour: str, label: str) -> None:
    sheet.box(*box, colour, fill=f"{colour}12", pad=0.6)
    sheet.text(box[0] + 1.6, box[1], label, bold=True, tab=True)


def _draw_chip(
    sheet: Page, box: Box, label: str, numbers: Sequence[tuple[int, float, str]],
    ended: bool = False,
) -> None:  # fmt: skip
    """Draw a process: its name, its numbers as (PID, right edge, colour) innermost first."""
    left, middle = box[0], box[1] + box[3] / 2
    seen = bool(numbers)
    edge = style.KERNEL if ended and seen else style.PALE
    face = f"{style.KERNEL}1A" if ended and seen else style.PAPER if seen else style.FAINT
    sheet.box(*box, edge, fill=face, pad=0.4, line=1.2, dashed=not seen)
    ink = style.INK if seen else style.QUIET
    sheet.text(left + 1.3, middle, f"{label}: ended" if ended else label, "body", ink)
    for at, (pid, right, colour) in enumerate(numbers):
        innermost = at == 0 and colour != style.HOST
        fill = f"{colour}77" if innermost else style.PAPER
        wide = (len(str(pid)) + 0.8) * DIGIT
        place = (right + 0.4 * DIGIT - wide, middle - 1.35, wide, 2.7)
        sheet.box(*place, colour, fill=fill, line=1, pad=0.4)
        sheet.text(right, middle, str(pid), "body", bold=innermost, right=True)


class PidMap:
    """Draws the processes of named sandboxes: `PidMap({"web server": web, "database": db})`.

    `draw()` shows a still picture; `await run(seconds=…)` a live one, with buttons that choose who
    looks, and a slider for each sandbox that starts and ends processes in it; they go on working
    afterwards. What is drawn is what /proc says at that moment. `data` is the last reading.
    """

    def __init__(self, boxes: Mapping[str, Sandbox]) -> None:
        self.boxes = procfs.named_boxes(boxes)
        self._watcher = procfs.Watcher(map(procfs.as_box, self.boxes.values()))
        self._notebook = procfs.snapshot(os.getpid())
        self._inodes: dict[str, int] = {}
        self._last: dict[int, ProcessSnapshot] = {}
        self._ended: dict[int, tuple[float, ProcessSnapshot]] = {}
        self._least = 0.0  # height of the live picture, in units: it does not shrink
        self.picture = LivePicture()
        self._viewer = ipywidgets.ToggleButtons(
            options=[HOST, *self.boxes], description="look as", style={"button_width": "auto"}
        )
        self._viewer.observe(lambda _: self.refresh(), "value")
        self.helpers: dict[str, list[Process]] = {name: [] for name in self.boxes}
        self.data = self.read()

    def read(self) -> PidMapData:
        """Read the map from the kernel now; those that have just ended linger a moment."""
        found = {process.pid: process for process in self._watcher.read()}
        now = time.monotonic()
        for pid in self._last.keys() - found.keys():
            self._ended[pid] = (now + LINGER_SECONDS, self._last[pid])
        self._ended = {pid: facts for pid, facts in self._ended.items() if facts[0] > now}
        self._last = dict(found)
        shown = {**{pid: process for pid, (_, process) in self._ended.items()}, **found}
        groups = tuple(self._group(label, shown) for label in self.boxes)
        ended = frozenset(self._ended.keys() - found.keys())
        return PidMapData(self._notebook, groups, ended, str(self._viewer.value))

    def look_as(self, viewer: str) -> list[int]:
        """Choose who looks, as the buttons do; return the numbers that this one sees.

        Raises `LabError`: the map knows nobody of that name.
        """
        if viewer not in self._viewer.options:
            raise LabError(f"nobody here is {viewer!r}", nearest(viewer, self._viewer.options))
        self._viewer.value = viewer
        self.refresh()
        return self.data.seen()

    def draw(self) -> None:
        """Show the map as it is now."""
        self.read()
        self._ended.clear()  # a still picture shows only who is there
        self.data = self.read()
        page(self.data).show(words(self.data), table(self.data))

    async def run(self, seconds: float = 8, frames_per_second: float = 10) -> PidMapData:
        """Show the map live for some seconds (or until Stop), then return the last reading."""
        self.refresh()
        shown = Shown(self._console(), words(self.data))
        await self.picture.keep_going(self.refresh, seconds, frames_per_second)
        self._least = 0  # a page of exactly the height that is needed
        self.refresh()
        shown.leave(self.picture.image, words(self.data), table(self.data), self.picture.width)
        return self.data

    def refresh(self) -> None:
        """Read once and repaint what has changed."""
        before, self.data = self.data, self.read()
        if before == self.data and self.picture.image and self._least:
            return
        needed = needed_height(self.data)
        if needed > self._least:
            self._least = needed + (SPARE if self.picture.running else 0)
        sheet = page(self.data, self._least)
        self.picture.width, self.picture.image = sheet.pixels, sheet.svg()
        self.picture.alt = words(self.data)
        self.picture.status = finding(self.data)

    def set_helpers(self, name: str, count: int) -> None:
        """Start or end `sleep` processes in a sandbox until there are `count` of them."""
        helpers = [each for each in self.helpers[name] if each.returncode is None]
        while len(helpers) < count:
            helpers.append(self.boxes[name].start(EXTRA))
        for extra in helpers[count:]:
            extra.signal(signal.SIGKILL)
            extra.wait()
        self.helpers[name] = helpers[:count]
        self.refresh()

    def _console(self) -> ipywidgets.VBox:
        sliders = [
            slider(
                ipywidgets.IntSlider, partial(self.set_helpers, name), self.picture,
                value=len(started), max=4, description=f"more processes in: {name}",
            )
            for name, started in self.helpers.items()
        ]  # fmt: skip
        return ipywidgets.VBox([ipywidgets.HBox(sliders), self._viewer, self.picture])

    def _group(self, label: str, shown: Mapping[int, ProcessSnapshot]) -> Group:
        pid = self.boxes[label].anchor_pid
        if pid is not None:
            self._inodes[label] = procfs.namespaces(pid)["pid"]
        inode = self._inodes.get(label, 0)
        inside = procfs.by_number_inside(p for p in shown.values() if inode in p.pid_namespaces)
        return group(label, inode, inside, depth=len(self._notebook.pids))
