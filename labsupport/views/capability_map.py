"""The capability map: who has which of root's privileges, a row each, a column for each process."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from labsupport.linux.capabilities import CapabilitySets
from labsupport.views import style

HAS, COULD, NO = "has it", "could gain it", "can never have it"
COLOURS = (style.HOST, *style.WHO, style.SHARED)
LONGEST_TITLE = 62  # characters
ROW = 1.9  # in units of which the picture is 100 wide
LEFT, TOP, BOTTOM = 30.0, 20.5, 6.0
CHARACTER = 1.55  # width of one in a column's heading


def standing(sets: CapabilitySets, name: str) -> str:
    """Whether a process has a capability, could gain it by execve, or can never have it."""
    if name in sets.effective:
        return HAS
    within = sets.permitted if sets.no_new_privs else sets.permitted | sets.bounding
    return COULD if name in within else NO


def order(who: Mapping[str, CapabilitySets]) -> list[str]:
    """The rows, which are all that the kernel has: what most have comes first, then by name."""
    known = next(iter(who.values())).known
    return sorted(known, key=lambda name: (-sum(name in s.effective for s in who.values()), name))


def finding(who: Mapping[str, CapabilitySets]) -> str:
    """Say in one line what the map shows."""
    text = f"Of {len(order(who))} capabilities"
    for label, sets in who.items():
        more = f"{text}, {label} has {len(sets.effective)}"
        if len(more) > LONGEST_TITLE:
            break
        text = more
    return text


def words(who: Mapping[str, CapabilitySets]) -> str:
    """Say all of it: the picture's text alternative."""
    names = order(who)
    parts = [f"{finding(who)}."]
    for label, sets in who.items():
        has = [name for name in names if name in sets.effective]
        if len(has) > len(names) / 2:
            without = [name for name in names if name not in sets.effective]
            said = f"all but {', '.join(without)}" if without else "all"
        else:
            said = ", ".join(has) or "none"
        flag = ", no_new_privs" if sets.no_new_privs else ""
        parts.append(f"{label} (user {sets.uid}{flag}, seccomp {sets.seccomp}): {said}.")
    return " ".join(parts)


def table(who: Mapping[str, CapabilitySets]) -> list[tuple[object, ...]]:
    """The same as rows: a capability, and how each process stands to it."""
    rows: list[tuple[object, ...]] = [("capability", *who)]
    return rows + [(name, *(standing(sets, name) for sets in who.values())) for name in order(who)]


def needed_height(who: Mapping[str, CapabilitySets]) -> float:
    """How high a page, 100 units wide, the map needs."""
    return TOP + ROW * len(order(who)) + BOTTOM


def draw_capabilities(axes: Axes, who: Mapping[str, CapabilitySets], title: str = "") -> None:
    """Draw the map into `axes`, which fills its figure; `who` is in the order of columns."""
    high = needed_height(who)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3, title or finding(who), size=style.size("title"), weight="bold",
              va="center")  # fmt: skip
    width = (98 - LEFT) / max(1, len(who))
    for column, (label, sets) in enumerate(who.items()):
        lines = fill(label, max(8, int(width / CHARACTER)), break_long_words=False)
        _draw_head(axes, LEFT + width * (column + 0.5), lines, sets)
    for row, name in enumerate(order(who)):
        top = TOP + row * ROW
        axes.text(LEFT - 1, top + ROW / 2, name.removeprefix("CAP_"), size=style.size("small"),
                  ha="right", va="center_baseline", family="monospace")  # fmt: skip
        for column, sets in enumerate(who.values()):
            colour = COLOURS[min(column, len(COLOURS) - 1)]
            box = (LEFT + width * column + 0.3, top + 0.15, width - 0.6, ROW - 0.3)
            _draw_cell(axes, box, standing(sets, name), colour)
    _draw_key(axes, high - BOTTOM / 2)


def _draw_head(axes: Axes, middle: float, label: str, sets: CapabilitySets) -> None:
    axes.text(middle, 11.4, label, size=style.size("body"), weight="bold", ha="center", va="bottom",
              linespacing=1.15)  # fmt: skip
    more = "no_new_privs" if sets.no_new_privs else "filtered" if sets.seccomp == "filter" else ""
    has = f"{len(sets.effective)} of {len(sets.known)}"
    for top, text, slant in (
        (13.0, f"user {sets.uid}", "normal"), (15.6, has, "normal"), (18.2, more, "italic"),
    ):  # fmt: skip
        axes.text(middle, top, text, size=style.size("small"), ha="center", va="center",
                  style=slant)  # fmt: skip


def _draw_cell(axes: Axes, box: tuple[float, float, float, float], what: str, colour: str) -> None:
    left, top, width, height = box
    face = {HAS: colour, COULD: colour + "2E", NO: style.PAPER}[what]
    edge = "#C4CBD1" if what == NO else colour
    axes.add_artist(
        Rectangle((left, top), width, height, facecolor=face, edgecolor=edge, linewidth=0.7)
    )
    if what == HAS:
        ink = style.PAPER if colour == style.HOST else style.INK
        axes.text(left + width / 2, top + height / 2, "✓", color=ink, weight="bold",
                  size=style.size("small"), ha="center", va="center_baseline")  # fmt: skip


def _draw_key(axes: Axes, middle: float) -> None:
    left = LEFT
    for what in (HAS, COULD, NO):
        _draw_cell(axes, (left, middle - 0.85, 3.2, 1.7), what, style.HOST)
        axes.text(left + 4, middle, what, size=style.size("small"), va="center")
        left += 8 + 1.2 * len(what)


def show_capabilities(who: Mapping[str, CapabilitySets]) -> None:
    """Show the map in the notebook, with its words and the table behind it."""
    figure = style.new_figure(8.6, 8.6 * needed_height(who) / 100)
    draw_capabilities(figure.add_axes((0, 0, 1, 1)), who)
    style.show(figure, words(who), table(who))
