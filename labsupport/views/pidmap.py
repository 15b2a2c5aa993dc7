"""The PID map: each process once, with its number in every PID namespace it lives in.

Boxes in boxes, as the kernel nests them: the host around the sandboxes, these around namespaces
made inside. The numbers are the kernel's own, from `NSpid` in /proc/PID/status.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.procfs import ProcessSnapshot
from labsupport.views import style
from labsupport.views.painter import Box, Scene

ROWS = 7  # what fits below each other
HIGH = 4.6  # of a process, in units of which the picture is 100 wide
COLUMN = 8.0  # width of a number


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
    """What is drawn: the notebook's own process, the namespaces, and who has just ended."""

    notebook: ProcessSnapshot
    groups: tuple[Group, ...]
    ended: frozenset[int] = frozenset()


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
    first = [p for g in data.groups for p in g.everyone() if p.pids[-1] == 1]
    alive = [p for p in first if p.pid not in data.ended]
    if not alive:
        return "No PID 1 in any of these namespaces: they are empty"
    outside = ", ".join(str(p.pid) for p in alive)
    times = {1: "once", 2: "twice", 3: "three times"}.get(len(alive), f"{len(alive)} times")
    return f"PID 1 {times}: the host calls {'it' if len(alive) == 1 else 'them'} {outside}"


def words(data: PidMapData) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(data)}. On the host, this notebook is PID {data.notebook.pid}."]
    for each in data.groups:
        parts.extend(_group_words(each, data.ended))
    return " ".join(parts)


def _group_words(group: Group, ended: frozenset[int]) -> Iterator[str]:
    yield f"PID namespace {group.inode} ({group.label}):"
    for process in group.processes:
        inside, *outer = reversed(process.pids)
        numbers = f"PID {inside} here, {outer[-1]} on the host"
        if len(outer) > 1:
            numbers += ", " + ", ".join(f"{pid} in the parent" for pid in outer[:-1])
        yield f"{process.label} is {numbers}{', just ended' if process.pid in ended else ''}."
    if not group.processes:
        yield "empty."
    for inner in group.inner:
        yield from _group_words(inner, ended)


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


@dataclass(frozen=True)
class Frame:
    """A namespace's box: who it belongs to by colour, its label, the captions of its numbers."""

    box: Box
    colour: str
    label: str
    captions: tuple[tuple[float, str, str], ...] = ()
    empty: bool = False
    more: int = 0


@dataclass(frozen=True)
class Chip:
    """A process: its name, its numbers as (PID, right edge, colour) innermost first."""

    label: str
    numbers: tuple[tuple[int, float, str], ...]
    ended: bool = False


def scene(data: PidMapData, high: float) -> Scene:
    """Lay the map out on a page 100 units wide and `high` units high."""
    label = f"the host · PID namespace {data.notebook.namespaces['pid']}"
    frames = [Frame((0.8, 6, 98.4, high - 7), style.HOST, label)]
    tiles: dict[Box, Chip | str] = {(1, 0.8, 98, 4.6): finding(data)}
    mine = (2.4, 13.3, 19.6, HIGH)
    tiles[mine] = Chip("notebook", ((data.notebook.pid, mine[0] + mine[2] - 1, style.HOST),))
    width = (74.8 - 1.6 * (len(data.groups) - 1)) / max(1, len(data.groups))
    for index, each in enumerate(data.groups):
        box = (23.6 + index * (width + 1.6), 9.6, width, high - 12.2)
        who = (style.WHO[index % len(style.WHO)], style.HOST)
        _lay_out(each, box, who, data.ended, frames, tiles)
    return Scene(tuple(frames), tiles)


def _lay_out(
    group: Group,
    box: Box,
    colours: tuple[str, ...],
    ended: frozenset[int],
    frames: list[Frame],
    tiles: dict[Box, Chip | str],
) -> None:
    """Place a namespace, its processes and what is nested in it; `colours` innermost first."""
    left, top, width, _ = box
    edges = [left + width - 2.4 - COLUMN * n for n in range(len(colours))][::-1]
    names = ["in here", *["parent"] * (len(colours) - 2), "host"]
    shown = group.processes[:ROWS]
    frames.append(
        Frame(
            box,
            colours[0],
            f"{group.label} · {group.inode}",
            tuple(zip(edges, names, colours, strict=True)) if shown else (),
            empty=not group.processes and not group.inner,
            more=len(group.processes) - len(shown),
        )
    )
    at = top + 3.7
    for process in shown:
        numbers = tuple(zip(reversed(process.pids), edges, colours, strict=False))
        chip = Chip(process.label, numbers, process.pid in ended)
        tiles[left + 1.2, at, width - 2.4, HIGH] = chip
        at += HIGH + 0.9
    for number, inner in enumerate(group.inner):
        others = [colour for colour in style.WHO[::-1] if colour not in colours]
        deeper = _group_height(inner)
        place = (left + 1.2, at + 1.2, width - 2.4, deeper)
        colour = others[number % len(others)] if others else style.SHARED
        _lay_out(inner, place, (colour, *colours), ended, frames, tiles)
        at += deeper + 1.8


def needed_height(data: PidMapData) -> float:
    """How high a page, 100 units wide, the map needs."""
    return 14 + max((_group_height(each) for each in data.groups), default=0)


def _group_height(group: Group) -> float:
    rows = min(ROWS, len(group.processes)) * (HIGH + 0.9)
    inner = sum(_group_height(each) + 1.8 for each in group.inner)
    more = 2.5 if len(group.processes) > ROWS else 0
    return 4.8 + max(rows + inner + more, HIGH)


def draw_pids(axes: Axes, data: PidMapData) -> None:
    """Draw the whole map into `axes`, which fills its figure."""
    picture = scene(data, height_of(axes))
    draw_frames(axes, picture.background)
    for box, content in picture.tiles.items():
        draw_tile(axes, box, content)


def height_of(axes: Axes) -> float:
    """The page's height in units, at 100 units of width."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    return float(100 * figure.get_figheight() / figure.get_figwidth())


def draw_frames(axes: Axes, frames: Any) -> None:
    """Draw the boxes of the namespaces."""
    axes.set(xlim=(0, 100), ylim=(height_of(axes), 0), position=(0, 0, 1, 1))
    axes.axis("off")
    for frame in frames:
        left, top, width, height = frame.box
        _rounded(axes, frame.box, 0.6, frame.colour + "12", frame.colour, 1.8)
        axes.text(
            left + 1.6, top, frame.label, size=style.size("small"), va="center", weight="bold",
            color=style.INK,
            bbox={"facecolor": style.PAPER, "edgecolor": frame.colour, "pad": 2.2, "linewidth": 1},
        )  # fmt: skip
        for right, caption, _ in frame.captions:
            axes.text(
                right, top + 2.5, caption, size=style.size("small") - 1.5, ha="right", va="center"
            )
        if frame.empty:
            axes.text(left + width / 2, top + height / 2, "empty: nothing lives here",
                      size=style.size("body"), ha="center", style="italic")  # fmt: skip
        if frame.more > 0:
            axes.text(left + 2, top + height - 1.8, f"… and {frame.more} more processes",
                      size=style.size("small"), va="center")  # fmt: skip


def draw_tile(axes: Axes, box: Box, content: Chip | str) -> list[Artist]:
    """Draw a process, or the title; return the artists."""
    left, top, _, high = box
    middle = top + high / 2
    if isinstance(content, str):
        return [
            axes.text(
                left + 0.5, middle, content, size=style.size("title"), weight="bold", va="center"
            )
        ]
    edge = style.KERNEL if content.ended else "#BBBBBB"
    face = style.KERNEL + "1A" if content.ended else style.PAPER
    inset = (left + 0.15, top + 0.15, box[2] - 0.3, high - 0.3)
    drawn: list[Artist] = [_rounded(axes, inset, 0.4, face, edge, 1.2)]
    label = f"{content.label}: ended" if content.ended else content.label
    drawn.append(axes.text(left + 1.3, middle, label, size=style.size("body"), va="center"))
    for place, (pid, right, colour) in enumerate(content.numbers):
        innermost = place == 0 and len(content.numbers) > 1
        drawn.append(
            axes.text(
                right, middle, str(pid), size=style.size("body"), va="center", ha="right",
                weight="bold" if innermost else "normal",
                bbox={"boxstyle": "round,pad=0.25", "edgecolor": colour, "linewidth": 1.4,
                      "facecolor": colour + "77" if innermost else style.PAPER},
            )
        )  # fmt: skip
    return drawn


def _rounded(
    axes: Axes, box: Box, radius: float, face: str, edge: str, line: float
) -> FancyBboxPatch:
    left, top, width, height = box
    patch = FancyBboxPatch(
        (left + radius, top + radius), width - 2 * radius, height - 2 * radius,
        boxstyle=f"round,pad={radius}", facecolor=face, edgecolor=edge, linewidth=line,
    )  # fmt: skip
    axes.add_artist(patch)  # unlike add_patch, it does not look after the axes' limits
    return patch
