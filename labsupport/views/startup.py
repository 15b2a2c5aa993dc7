"""Where the time goes when a container starts: a bar for each way, in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from labsupport.starting import Start
from labsupport.views import style

WIDTH = 9.6  # inches
SHARES = (0.95, 0.5, 0.72, 0.32, 0.6)  # how strong the pieces of a bar are, in turn
_LETTERS = 84  # as many have room beside each other along the longest bar


def finding(starts: Sequence[Start]) -> str:
    """Say in one line how the slowest compares with the first."""
    first, slowest = starts[0], max(starts, key=lambda start: start.seconds)
    if slowest is first:
        return ", ".join(f"{start.name} {_time(start.seconds)}" for start in starts)
    times = slowest.seconds / first.seconds
    what, seconds = max(slowest.parts, key=lambda part: part[1])
    share = 100 * seconds / slowest.seconds
    return f"{slowest.name} takes {times:.1f} times as long; {share:.0f} % of it is {what}"


def words(starts: Sequence[Start]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(starts)}."]
    for start in starts:
        pieces = ", ".join(f"{what} {_time(seconds)}" for what, seconds in start.parts)
        parts.append(f"{start.name}: {_time(start.seconds)} ({pieces}).")
    return " ".join(parts)


def table(starts: Sequence[Start]) -> list[tuple[object, ...]]:
    """Return a row for each piece, with a row of headings first."""
    rows = [(s.name, what, f"{1000 * seconds:.1f}") for s in starts for what, seconds in s.parts]
    return [("how", "what", "milliseconds"), *rows]


def draw_starts(axes: Axes, starts: Sequence[Start]) -> None:
    """Draw a bar for each start, the first on top."""
    longest = max(start.seconds for start in starts) * 1000
    axes.set(xlim=(0, longest * 1.13), ylim=(len(starts) - 0.35, -0.65))
    title = finding(starts)
    axes.figure.text(0.016, 0.98, title, size=style.size("title"), weight="bold", va="top")
    axes.set_xlabel("milliseconds from the order to the end of “true”", size=style.size("small"))
    axes.tick_params(labelsize=style.size("small"))
    axes.set_yticks(range(len(starts)), [start.name for start in starts], size=style.size("body"))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for row, start in enumerate(starts):
        _draw_bar(axes, row, start, style.WHO[row % len(style.WHO)], longest)


def _draw_bar(axes: Axes, row: int, start: Start, colour: str, longest: float) -> None:
    left, untold = 0.0, []
    for number, (what, seconds) in enumerate(start.parts):
        width = 1000 * seconds
        strength = f"{int(SHARES[number % len(SHARES)] * 255):02x}"
        axes.barh(row, width, 0.54, left=left, color=f"{colour}{strength}", edgecolor=style.INK,
                  linewidth=0.8)  # fmt: skip
        room = width / longest * _LETTERS
        long, short = f"{what}\n{width:.0f} ms", f"{width:.0f}"
        text = long if len(what) < room else short if len(short) < room else ""
        axes.text(left + width / 2, row, text, size=style.size("small"), ha="center", va="center",
                  linespacing=1.1)  # fmt: skip
        untold += [] if text == long else [f"{what} {width:.0f}"]
        left += width
    axes.text(left + 0.01 * longest, row, _time(start.seconds), size=style.size("body"),
              weight="bold", va="center")  # fmt: skip
    more = ", ".join(untold)
    if more and len(more) < (0.85 - left / longest) * _LETTERS:
        axes.text(left + 0.13 * longest, row, more, size=style.size("small"), va="center")


def show(starts: Sequence[Start]) -> None:
    """Show the bars in the notebook, with all numbers behind a click."""
    figure = style.new_figure(WIDTH, 1.3 + 0.75 * len(starts))
    draw_starts(figure.add_axes(_place(len(starts))), starts)
    style.show(figure, words(starts), table(starts))


def _place(count: int) -> tuple[float, float, float, float]:
    height = 1.3 + 0.75 * count
    return (0.14, 0.62 / height, 0.84, 1 - 1.12 / height)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
