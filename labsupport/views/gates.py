"""Who said no: each system call on its way through the guards, and the gate that stopped it.

The kernel asks in this order, from left to right. A call goes as far as the first gate that is
closed. A gate behind it that would refuse, too, is drawn hollow: that is defence in depth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from labsupport.linux.guards import CALL, CAPABILITY, NAMESPACE, NEEDS, SECCOMP, Gate, WhoSaidNo
from labsupport.views import style

WIDTH = 9.2  # inches
LONGEST_TITLE = 64  # characters
GATES = {SECCOMP: 38.0, CAPABILITY: 54.0, NAMESPACE: 70.0, CALL: 86.0}
"""Where the gates stand, in units of which the page is 100 wide."""
HEADS = {
    SECCOMP: "seccomp filter", CAPABILITY: "capability", NAMESPACE: "user namespace",
    CALL: "the call",
}  # fmt: skip
STOPS = {SECCOMP: "the filter", CAPABILITY: "a capability", NAMESPACE: "the user namespace"}
ASKS = {
    SECCOMP: "may it be called?", CAPABILITY: "by this process?", NAMESPACE: "valid from here?",
    CALL: "with these values?",
}  # fmt: skip
ROW, TOP, BOTTOM = 4.8, 17.5, 6.5
SEES, START, END = 19.0, 30.0, 98.5
OPEN = "#B8C0C7"


def stopped_by(answer: WhoSaidNo) -> str:
    """The first closed gate of a call, or "" if its way is free up to the call itself."""
    return answer.closed[0] if answer.closed else ""


def finding(answers: Sequence[WhoSaidNo], who: str) -> str:
    """Say in one line what the picture shows."""
    first = Counter(stopped_by(answer) for answer in answers)
    if first[""] == len(answers):
        return f"{who}: nobody says no to these {len(answers)} calls"
    (guard, count), *others = [(guard, first[guard]) for guard in STOPS if first[guard]]
    text = f"{who}: {STOPS[guard]} stops {count} of {len(answers)}"
    for guard, count in others:
        if len(text) + len(STOPS[guard]) < LONGEST_TITLE:
            text += f", {STOPS[guard]} {count}"
    return text


def words(answers: Sequence[WhoSaidNo], who: str) -> str:
    """Say all of it: the picture's text alternative."""
    return " ".join([f"{finding(answers, who)}.", *map(_sentence, answers)])


def _sentence(answer: WhoSaidNo) -> str:
    first, *others = answer.closed or ("",)
    sees = f"{answer.call}: {answer.errno or 'success'}"
    if not first:
        return f"{sees}, no guard refuses it."
    also = f", and so would the {' and the '.join(HEADS[each] for each in others)}"
    return f"{sees}, from the {HEADS[first]}{also if others else ''}."


def table(answers: Sequence[WhoSaidNo]) -> list[tuple[object, ...]]:
    """The same as rows: a call, what its caller sees, what it needs, and each gate alone."""
    rows: list[tuple[object, ...]] = [("system call", "it sees", "it needs", *HEADS.values())]
    for answer in answers:
        gates = (f"{g.errno or 'open'} ({g.by})" for g in answer.gates)
        needs = NEEDS[answer.call] or "nothing"
        rows.append((answer.call, answer.errno or "success", needs, *gates))
    return rows


def needed_height(answers: Sequence[WhoSaidNo]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + ROW * len(answers) + BOTTOM


def draw_gates(axes: Axes, answers: Sequence[WhoSaidNo], title: str) -> None:
    """Draw a row for each call into `axes`, which fills its figure."""
    high = needed_height(answers)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.4, title, size=style.size("title"), weight="bold", va="center")
    axes.text(1.2, 10, "system call", size=style.size("body"), va="center")
    axes.text(SEES, 10, "it sees", size=style.size("body"), va="center")
    for guard, left in GATES.items():
        axes.text(left, 8.6, HEADS[guard], size=style.size("body"), weight="bold", ha="center",
                  va="center")  # fmt: skip
        axes.text(left, 11.8, ASKS[guard], size=style.size("small"), style="italic", ha="center",
                  va="center")  # fmt: skip
    for row, answer in enumerate(answers):
        _draw_row(axes, answer, TOP + ROW * row)
    _draw_key(axes, high - BOTTOM / 2 + 0.6)


def _draw_row(axes: Axes, answer: WhoSaidNo, middle: float) -> None:
    axes.text(1.2, middle, answer.call, size=style.size("body"), weight="bold", va="center",
              family="monospace")  # fmt: skip
    ink = style.KERNEL if answer.closed else style.INK
    axes.text(SEES, middle, answer.errno or "success", size=style.size("body"), va="center",
              color=ink, weight="bold" if answer.closed else "normal")  # fmt: skip
    stop = next((gate.guard for gate in answer.gates if gate.closed), "")
    end = GATES[stop] - 0.9 if stop else END
    axes.annotate("", (end, middle), (START, middle), arrowprops={
        "arrowstyle": "-|>", "color": style.FIRST, "lw": 2.6, "shrinkA": 0, "shrinkB": 0,
        "mutation_scale": 15})  # fmt: skip
    for gate in answer.gates:
        _draw_gate(axes, gate, middle, is_stop=gate.guard == stop)


def _draw_gate(axes: Axes, gate: Gate, middle: float, *, is_stop: bool) -> None:
    left = GATES[gate.guard]
    if not gate.closed:
        for top in (middle - 1.9, middle + 0.9):
            _bar(axes, left, top, 1.0, OPEN, OPEN)
        return
    colour = style.SHARED if gate.guard == CALL else style.KERNEL
    _bar(axes, left, middle - 1.9, 3.8, colour if is_stop else style.PAPER, colour)
    axes.text(left + 1.4, middle, gate.errno, size=style.size("small"), va="center", color=colour,
              weight="bold" if is_stop else "normal")  # fmt: skip


def _bar(axes: Axes, middle: float, top: float, high: float, face: str, edge: str) -> None:
    axes.add_artist(
        Rectangle((middle - 0.55, top), 1.1, high, facecolor=face, edgecolor=edge, linewidth=1.4)
    )


def _draw_key(axes: Axes, middle: float) -> None:
    key: Mapping[str, tuple[float, str, str]] = {
        "open": (START, OPEN, OPEN), "it said no": (41.0, style.KERNEL, style.KERNEL),
        "it would, too": (57.0, style.PAPER, style.KERNEL),
        "only our harmless values": (75.0, style.SHARED, style.SHARED),
    }  # fmt: skip
    for text, (left, face, edge) in key.items():
        for top, high in ((-1.5, 0.9), (0.6, 0.9)) if text == "open" else ((-1.5, 3.0),):
            _bar(axes, left, middle + top, high, face, edge)
        axes.text(left + 1.6, middle, text, size=style.size("small"), va="center")


def show_gates(answers: Sequence[WhoSaidNo], who: str) -> None:
    """Show the gates in the notebook, with their words and the table behind them."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(answers) / 100)
    draw_gates(figure.add_axes((0, 0, 1, 1)), answers, finding(answers, who))
    style.show(figure, words(answers, who), table(answers))
