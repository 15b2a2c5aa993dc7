"""Who said no, as a chain of gates: each row a system call on its way into the kernel.

The gates stand in the order in which the kernel passes them. The first closed one is where the call
ended; those behind it that would have refused it, too, are outlined.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.filters.guards import (
    CALL,
    CAPABILITY,
    NAMESPACE,
    NEEDS,
    SECCOMP,
    Gate,
    WhoSaidNo,
)
from labsupport.views import style

HEADS = {
    SECCOMP: "seccomp\nfilter", CAPABILITY: "capability", NAMESPACE: "initial user\nnamespace",
    CALL: "the call\nitself",
}  # fmt: skip
COLUMNS = dict(zip(HEADS, (34.5, 52.5, 70.5, 89.0), strict=True))
LONGEST_TITLE = 60  # characters
LEFT, TOP, ROW, BOTTOM = 1.5, 14.5, 5.4, 5.5
WIDE, HIGH = 11.5, 3.3


def finding(found: Sequence[WhoSaidNo], who: str = "") -> str:
    """Say in one line what the picture shows, and of whom."""
    refused = [each for each in found if each.closed]
    twice = sum(len(each.closed) > 1 for each in refused)
    whose = f"{who}: " if who else ""
    if not refused:
        return f"{whose}No guard refuses any of these {len(found)} calls"
    text = f"{whose}{len(refused)} of {len(found)} calls are refused by a guard"
    if len(text) > LONGEST_TITLE - len(", 9 guarded twice"):
        text = f"{whose}{len(refused)} of {len(found)} calls are refused"
    return f"{text}, {twice} guarded twice" if twice else text


def words(found: Sequence[WhoSaidNo], who: str = "") -> str:
    """Say all of it: the picture's text alternative."""
    return " ".join([f"{finding(found, who)}.", *(_sentence(each) for each in found)])


def _sentence(each: WhoSaidNo) -> str:
    first, *others = each.closed or ("",)
    if not first:
        end = each.gates[-1]
        return f"{each.call} passes all guards{f' and ends with {end.errno}' if end.errno else ''}."
    also = f"; {' and '.join(others)} would refuse it, too" if others else ""
    return f"{each.call} is refused by {first} with {each.errno}{also}."


def table(found: Sequence[WhoSaidNo]) -> list[tuple[object, ...]]:
    """The same as rows: a call, what the program sees, and what each guard alone says."""
    rows: list[tuple[object, ...]] = [("system call", "seen", *(g.guard for g in found[0].gates))]
    return rows + [
        (each.call, each.errno or "success", *(gate.errno or "open" for gate in each.gates))
        for each in found
    ]


def needed_height(found: Sequence[WhoSaidNo]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + ROW * len(found) + BOTTOM


def draw_gates(axes: Axes, found: Sequence[WhoSaidNo], title: str = "") -> None:
    """Draw the rows into `axes`, which fills its figure."""
    high = needed_height(found)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3, title or finding(found), size=style.size("title"), weight="bold",
              va="center")  # fmt: skip
    for guard, middle in COLUMNS.items():
        axes.text(middle, 9.5, HEADS[guard], size=style.size("small"), weight="bold", ha="center",
                  va="center", linespacing=1.15)  # fmt: skip
    for row, each in enumerate(found):
        _draw_row(axes, TOP + ROW * (row + 0.5), each)
    _draw_key(axes, high - BOTTOM / 2 + 0.4)


def _draw_row(axes: Axes, middle: float, each: WhoSaidNo) -> None:
    axes.text(LEFT, middle - 1, each.call, size=style.size("body"), weight="bold", va="center",
              family="monospace")  # fmt: skip
    need = NEEDS[each.call].removeprefix("CAP_")
    axes.text(LEFT, middle + 1.2, f"needs {need}" if need else "needs no capability",
              size=style.size("small"), va="center", color="#5A5A5A")  # fmt: skip
    stopped = next((gate.guard for gate in each.gates if gate.closed), CALL)
    end = COLUMNS[stopped]
    axes.plot([21, end - WIDE / 2], [middle] * 2, color=style.HOST, linewidth=2.4, zorder=1,
              solid_capstyle="butt")  # fmt: skip
    if stopped != CALL:
        axes.plot([end, COLUMNS[CALL]], [middle] * 2, color="#B5BCC2", linewidth=1.6, zorder=0,
                  linestyle=(0, (2, 2)))  # fmt: skip
    for gate in each.gates:
        _draw_gate(axes, middle, gate, stopped)


def _draw_gate(axes: Axes, middle: float, gate: Gate, stopped: str) -> None:
    at = COLUMNS[gate.guard]
    if gate.guard == CALL:
        _box(axes, at, middle, gate.errno or "done", style.SHARED, filled=False, soft=True)
    elif gate.closed:
        _box(axes, at, middle, gate.errno, style.KERNEL, filled=gate.guard == stopped)
    else:
        for side in (-1, 1):
            post = at + side * WIDE / 2
            axes.plot([post] * 2, [middle - HIGH / 2, middle + HIGH / 2], color=style.INK,
                      linewidth=2.2)  # fmt: skip


def _box(axes: Axes, at: float, middle: float, text: str, colour: str, *, filled: bool,
         soft: bool = False) -> None:  # fmt: skip
    face = colour if filled else style.PAPER
    axes.add_artist(
        FancyBboxPatch(
            (at - WIDE / 2 + 0.3, middle - HIGH / 2 + 0.3), WIDE - 0.6, HIGH - 0.6,
            boxstyle="round,pad=0.3", facecolor=face, edgecolor=colour, linewidth=1.8,
            linestyle="--" if soft else "-", zorder=2,
        )
    )  # fmt: skip
    axes.text(at, middle, f"✕ {text}" if filled else text, size=style.size("body"), ha="center",
              va="center", weight="bold", zorder=3,
              color=style.PAPER if filled else style.INK)  # fmt: skip


def _draw_key(axes: Axes, middle: float) -> None:
    for left, text, colour, filled in (
        (3.0, "ended here", style.KERNEL, True),
        (27.0, "would have ended here, too", style.KERNEL, False),
        (60.5, "the call itself (harmless arguments)", style.SHARED, False),
    ):
        axes.add_artist(
            FancyBboxPatch(
                (left, middle - 0.6), 2.2, 1.2, boxstyle="round,pad=0.3", linewidth=1.6,
                facecolor=colour if filled else style.PAPER, edgecolor=colour,
                linestyle="--" if colour == style.SHARED else "-",
            )
        )  # fmt: skip
        axes.text(left + 3.6, middle, text, size=style.size("small"), va="center")


def show_gates(found: Sequence[WhoSaidNo], who: str = "") -> None:
    """Show the chain of gates in the notebook, with its words and the table behind it."""
    figure = style.new_figure(8.6, 8.6 * needed_height(found) / 100)
    draw_gates(figure.add_axes((0, 0, 1, 1)), found, finding(found, who))
    style.show(figure, words(found, who), table(found))
