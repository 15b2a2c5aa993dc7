"""What a sandbox, a machine and a container in it cost, measured here: how many zeros apart.

The picture has a dot for each on a scale of powers of ten. A second measurement gives other digits,
and the same picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.build.bases import APP_BASE_TAG
from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.table import amount
from labsupport.machine.virtual import VirtualMachine
from labsupport.sandbox.sandbox import Sandbox

WIDTH = 9.8  # inches
_LOOKS = ((style.FIRST, "o"), (style.THIRD, "^"), (style.SECOND, "s"))
_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SECONDS = ("1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1000 s")


@dataclass(frozen=True)
class Cost:
    """What was measured of one way: seconds until its first program ran, bytes that it takes."""

    name: str
    start_seconds: float
    memory_bytes: int
    disk_bytes: int


def times(large: float, small: float) -> str:
    """Say how many times larger, as a power of ten: nobody could measure more."""
    return f"10{_POWERS[max(0, round(math.log10(large / small)))]}"


def finding(costs: Sequence[Cost]) -> str:
    """Say in one line how the last, a machine, compares with the first."""
    first, last = costs[0], costs[-1]
    longer = times(last.start_seconds, first.start_seconds)
    more = times(last.memory_bytes, first.memory_bytes)
    return f"About {longer} times the time of a {first.name}, and {more} times its memory"


def table(costs: Sequence[Cost]) -> list[tuple[object, ...]]:
    """Return a row for each way, with a row of headings first."""
    head = ("", "its first program after", "memory", "disk")
    return [head, *((c.name, _seconds(c), _memory(c), amount(c.disk_bytes)) for c in costs)]


def words(costs: Sequence[Cost], emulated: str) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{name}: {time} to start, {memory} of memory, {disk} of disk"
             for name, time, memory, disk in table(costs)[1:]]  # fmt: skip
    return f"{finding(costs)}. {'; '.join(parts)}. In the machine: {emulated}."


def _seconds(cost: Cost) -> str:
    seconds = cost.start_seconds
    number, unit = (seconds, "s") if seconds >= 0.95 else (1000 * seconds, "ms")
    return f"{float(f'{number:.1g}'):.0f} {unit}"


def _memory(cost: Cost) -> str:
    return amount(float(f"{cost.memory_bytes:.1g}"))


def figure_of(costs: Sequence[Cost], emulated: str) -> Figure:
    """Return the picture; `emulated` says who executed the machine's instructions."""
    figure = style.new_figure(WIDTH, high := 1.55 + 0.5 * len(costs))
    figure.text(0.012, 0.97, finding(costs), size=style.size("title"), weight="bold", va="top")
    figure.text(0.012, 0.04, f"In the machine: {emulated}. Each step of the scale is ten times the "
                "one before.", size=style.size("small"))  # fmt: skip
    low, top = 0.75 / high, 1 - 0.9 / high
    panels = [figure.add_axes((left, low, 0.35, top - low)) for left in (0.185, 0.615)]
    _dots(panels[0], [cost.start_seconds for cost in costs], [_seconds(c) for c in costs])
    _dots(panels[1], [cost.memory_bytes for cost in costs], [_memory(c) for c in costs])
    panels[0].set_yticks(range(len(costs)), [c.name for c in costs], size=style.size("body"))
    for axes, title in zip(panels, ("until its first program ran", "memory"), strict=True):
        axes.set_title(title, size=style.size("body"), loc="left")
    return figure


def _dots(axes: Axes, values: Sequence[float], written: Sequence[str]) -> None:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 0.2)
    powers = range(low, high + 1)
    names = [_SECONDS[p + 3] if low < 0 else amount(10**p) for p in powers]
    axes.set_xscale("log")
    axes.set(xlim=(10**low, 10**high), ylim=(len(values) - 0.4, -0.6))
    axes.set_xticks([10**p for p in powers], names, size=style.size("small"))
    axes.minorticks_off()
    axes.set_yticks([])
    axes.grid(axis="x", color=style.PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="both", length=0)
    for row, (value, text, (colour, shape)) in enumerate(zip(values, written, _LOOKS, strict=True)):
        axes.plot([value], [row], shape, color=colour, markeredgecolor=style.INK, markersize=11)
        left = value > 10 ** ((low + high) / 2)
        axes.annotate(text, (value, row), (-10 if left else 10, 0), textcoords="offset points",
                      ha="right" if left else "left", va="center",
                      size=style.size("body"), weight="bold")  # fmt: skip


def show(costs: Sequence[Cost], machine: VirtualMachine) -> None:
    """Show the dots in the notebook, with all numbers behind a click."""
    emulated = machine.accelerator.words
    style.show(figure_of(costs, emulated), words(costs, emulated), table(costs))


def of_sandbox() -> Cost:
    """Start a sandbox with a container's namespaces, run a program in it, and measure.

    Its memory is what its processes have of their own, and their share of what they share (Pss,
    proc_pid_smaps(5)); it takes no disk: it uses this machine's files.
    """
    began = time.monotonic()
    with Sandbox(new={"pid", "mount", "uts", "ipc", "net"}) as box:
        box.run(["true"])
        seconds = time.monotonic() - began
        sleeper = box.start(["sleep", "60"])
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (box.pid, sleeper.pid)]
    return Cost("sandbox", seconds, sum(map(_pss, rollups)), 0)


_IN_A_CONTAINER = """\
began=$(date +%s%N)
id=$(docker run --detach --network none {image} sleep 60)
echo $(($(date +%s%N) - began))
sudo cat /proc/$(docker inspect --format '{{{{.State.Pid}}}}' $id)/smaps_rollup
docker rm --force $id >/dev/null
"""


def of_container(machine: VirtualMachine) -> Cost:
    """Run a container in the machine, and measure it there, by its clock and its kernel."""
    done = machine.run(["sh", "-ec", _IN_A_CONTAINER.format(image=APP_BASE_TAG)])
    if done.returncode:
        raise LabError("no container ran in the machine", done.stderr)
    nanoseconds, _, rollup = done.stdout.partition("\n")
    return Cost("container in the VM", int(nanoseconds) / 1e9, _pss(rollup), 0)


def of(machine: VirtualMachine) -> Cost:
    """Return what a machine has cost: its start, QEMU's memory then, base disk and own disk."""
    disk = machine.base.size_bytes + machine.own_disk_bytes
    ready = machine.stages[-1].ended_seconds
    return Cost("virtual machine", ready, machine.memory_at_login, disk)


def _pss(rollup: str) -> int:
    return int(rollup.partition("\nPss:")[2].split()[0]) << 10
