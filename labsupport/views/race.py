"""The race: a bar for each way to run the app, until its first answer; then memory and disk.

All scales are logarithmic: a process and a virtual machine are some hundred times apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.race.results import Entrant, bytes_in_words, time_in_words
from labsupport.views import style

WIDTH = 10.0  # inches
TOP, BOTTOM, ROW = 1.05, 0.62, 0.56
LEAST_SECONDS, LEAST_BYTES = 0.01, 1e3
COLOURS = {
    "process": style.HOST, "virtual environment": style.HOST, "our sandbox": style.FIRST,
    "container": style.SECOND,
}  # fmt: skip


def colour(name: str) -> str:
    """Return the colour of an entrant; machines with a kernel of their own share one."""
    return COLOURS.get(name, style.THIRD)


def finding(entrants: Sequence[Entrant]) -> str:
    """Say in one line how much longer than a process the others took."""
    ran = [each for each in entrants if each.starts]
    base = next((each.seconds for each in ran if each.name == "process"), 0.0)
    if not base or len(ran) == 1:
        return "Who answers first?"
    told = [
        f"{each.name} {_times(each.seconds / base)}"
        for each in ran
        if each.name in ("container", "virtual machine")
    ]
    told = told or [f"{ran[-1].name} {_times(ran[-1].seconds / base)}"]
    return f"Process {time_in_words(base)}, {' that, '.join(told[:2])}{'' if told[1:] else ' that'}"


def words(entrants: Sequence[Entrant]) -> str:
    """Say all of it: the picture's text alternative."""
    return " ".join([f"{finding(entrants)}.", *map(_sentence, entrants)])


def table(entrants: Sequence[Entrant]) -> list[tuple[object, ...]]:
    """Return a row for each entrant, with a row of headings first."""
    head = ("how", "first answer after (median)", "fastest", "slowest", "starts", "memory", "disk",
            "on disk")  # fmt: skip
    rows: list[tuple[object, ...]] = [head]
    for each in entrants:
        if not each.starts:
            rows.append((each.name, each.why_not or "has not run", "", "", 0, "", "", ""))
            continue
        rows.append(
            (each.name, time_in_words(each.seconds), time_in_words(min(each.starts)),
             time_in_words(max(each.starts)), len(each.starts), bytes_in_words(each.memory_bytes),
             bytes_in_words(each.disk_bytes), each.disk_words)
        )  # fmt: skip
    return rows


def draw(entrants: Sequence[Entrant], over: bool = True) -> Figure:
    """Draw the three panels; while the race is not over, the title does not yet tell its end."""
    high = TOP + BOTTOM + ROW * len(entrants)
    figure = style.new_figure(WIDTH, high)
    title = finding(entrants) if over else "Who answers first?"
    figure.text(0.012, 1 - 0.28 / high, title, size=style.size("large"), weight="bold", va="center")
    low, tall = BOTTOM / high, ROW * len(entrants) / high
    time, memory, disk = (
        figure.add_axes((left, low, wide, tall))
        for left, wide in ((0.187, 0.413), (0.622, 0.165), (0.81, 0.185))
    )
    _prepare(time, entrants, "time to the first answer", LEAST_SECONDS,
             [max((*e.starts, e.running_seconds or 0), default=0) for e in entrants])  # fmt: skip
    _prepare(memory, entrants, "memory", 1e6, [e.memory_bytes for e in entrants])
    _prepare(disk, entrants, "on disk for it", LEAST_BYTES, [e.disk_bytes for e in entrants])
    _label(time, entrants)
    for row, each in enumerate(entrants):
        _draw_time(time, row, each)
        if each.starts:
            _bar(memory, row, each.memory_bytes, colour(each.name), bytes_in_words)
            _bar(disk, row, each.disk_bytes, colour(each.name), _starred(each))
    return figure


def _prepare(
    axes: Axes, entrants: Sequence[Entrant], heading: str, least: float, values: Sequence[float]
) -> None:
    longest = max(*values, least * 20)
    room = (longest / least) if heading == "time to the first answer" else 0.0
    axes.set_xscale("log")
    axes.set(xlim=(least, longest * (room or (longest / least) ** 0.85)))
    axes.set_ylim(len(entrants) - 0.4, -0.6)
    axes.set_title(heading, size=style.size("body"), loc="left", weight="bold", pad=8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_yticks([])
    unit, words_ = (1.0, time_in_words) if least == LEAST_SECONDS else (1e3, bytes_in_words)
    ticks = [tick for n in range(-2, 12) if least <= (tick := unit * 10**n) <= longest * 1.01]
    ticks = ticks if least == LEAST_SECONDS else ticks[:: 3 if len(ticks) > 3 else 2]
    axes.set_xticks(ticks, [words_(tick).replace(".0", "") for tick in ticks])
    axes.minorticks_off()
    axes.tick_params(labelsize=style.size("small"), length=0)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)


def _starred(each: Entrant) -> Callable[[float], str]:
    """Write an amount with a star, if that is not all of the disk."""
    star = "*" if each.got and each.got.own_kernel else ""
    return lambda amount: f"{bytes_in_words(amount)}{star}"


def _label(axes: Axes, entrants: Sequence[Entrant]) -> None:
    names = [each.name for each in entrants]
    axes.set_yticks(range(len(names)), names, size=style.size("body"))
    note = "bar: median;  points: each start;  logarithmic scales"
    if any(each.got and each.got.own_kernel for each in entrants):
        note += ";  * and the host's own files as its disk"
    axes.figure.text(0.012, 0.02, note, size=style.size("small"), va="bottom", color="#444444")


def _draw_time(axes: Axes, row: int, each: Entrant) -> None:
    left = axes.get_xlim()[0]
    if each.why_not:
        why = f"not here: {_short(each.why_not)}"
        axes.text(left * 1.15, row, why, style="italic", size=style.size("small"), va="center",
                  color="#555555", clip_on=False)  # fmt: skip
        return
    running = each.running_seconds
    if running is not None:
        axes.barh(row, max(running - left, 0), 0.56, left=left, facecolor="none", hatch="////",
                  edgecolor=colour(each.name), linewidth=1.2)  # fmt: skip
        axes.text(max(running, left) * 1.15, row, f"{running:.1f} s …", va="center",
                  size=style.size("body"))  # fmt: skip
        return
    if not each.starts:
        axes.text(left * 1.15, row, "waits for its turn", size=style.size("small"), va="center",
                  color="#555555")  # fmt: skip
        return
    _bar(axes, row, each.seconds, colour(each.name), time_in_words, max(each.starts), _spread(each))
    axes.plot(each.starts, [row] * len(each.starts), "o", color=style.INK, markersize=4.5,
              markerfacecolor="white", clip_on=False)  # fmt: skip


def _bar(
    axes: Axes, row: int, value: float, colour_: str, in_words: Callable[[float], str],
    end: float | None = None, more: str = "",
) -> None:  # fmt: skip
    left = axes.get_xlim()[0]
    axes.barh(row, max(value - left, 0), 0.56, left=left, color=colour_, edgecolor=style.INK,
              linewidth=0.8)  # fmt: skip
    at = max(end or value, left)
    axes.annotate(in_words(value), (at, row), (7, 0), textcoords="offset points", weight="bold",
                  size=style.size("body"), va="center")  # fmt: skip
    if more:
        axes.annotate(more, (at, row), (62, 0), textcoords="offset points",
                      size=style.size("small"), va="center", color="#444444")  # fmt: skip


def _spread(each: Entrant) -> str:
    low, high = time_in_words(min(each.starts)), time_in_words(max(each.starts))
    return f"{low} to {high}" if len(each.starts) > 1 else "one start"


def _sentence(each: Entrant) -> str:
    if each.why_not:
        return f"{each.name}: not here, {each.why_not}."
    if not each.starts:
        return f"{each.name}: has not run."
    return (
        f"{each.name}: {time_in_words(each.seconds)} ({_spread(each)}), "
        f"{bytes_in_words(each.memory_bytes)} of memory, {bytes_in_words(each.disk_bytes)} on disk."
    )


def _times(factor: float) -> str:
    return f"{factor:.1f}×" if factor < 9.5 else f"{factor:.0f}×"  # noqa: RUF001


def _short(why: str) -> str:
    return why if len(why) <= 60 else f"{why[:59]}…"
