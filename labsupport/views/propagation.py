"""What spreads between two mount namespaces: a row for each setting, arrows for what happened."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.propagation import Outcome
from labsupport.views import style

WIDTH = 9.2  # inches
ROW = 13.0  # height of a row, on a page 100 units wide
TOP = 11.5
ORIGINAL, COPY = style.FIRST, style.SECOND
LEFT, RIGHT = 42.0, 74.0  # between which the arrows run
_DIRECTIONS = {
    (True, True): "both ways",
    (True, False): "from the original to the copy only",
    (False, True): "from the copy to the original only",
    (False, False): "not at all",
}


def direction(outcome: Outcome) -> str:
    """Say in words where mounts spread."""
    return _DIRECTIONS[outcome.to_copy, outcome.to_original]


def finding(outcomes: Sequence[Outcome]) -> str:
    """Say in one line what the picture shows."""
    short = {"from the original to the copy only": "one way", "not at all": "no way"}
    return "   ".join(
        f"{each.setting}: {short.get(direction(each), direction(each))}" for each in outcomes
    )


def words(outcomes: Sequence[Outcome]) -> str:
    """Say all of it: the picture's text alternative."""
    return " ".join(
        f"With {each.setting}, mounts made after the copy spread {direction(each)}."
        for each in outcomes
    )


def table(outcomes: Sequence[Outcome]) -> list[tuple[object, ...]]:
    """Return the matrix, with a row of headings first."""
    head = ("setting", "mounted in the original: in the copy?", "the other way round?")
    return [
        head,
        *(
            (e.setting, *("yes" if x else "no" for x in (e.to_copy, e.to_original)))
            for e in outcomes
        ),
    ]


def draw_propagation(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draw the matrix into `axes`, which fills its figure."""
    axes.set(xlim=(0, 100), ylim=(needed_height(outcomes), 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.5, 3.2, finding(outcomes), size=style.size("title"), weight="bold", va="center")
    axes.text(1.5, 8.3, "A mount made after the copy: does it show on the other side?",
              size=style.size("body"), va="center")  # fmt: skip
    for number, outcome in enumerate(outcomes):
        top = TOP + number * ROW
        axes.text(1.5, top + ROW / 2 - 1, outcome.setting, size=style.size("large"), weight="bold",
                  va="center")  # fmt: skip
        _draw_side(axes, (LEFT - 22, top), "the original", ORIGINAL)
        _draw_side(axes, (RIGHT, top), "the copy", COPY)
        _draw_arrow(axes, LEFT + 1, RIGHT - 1, top + 3.4, outcome.to_copy, ORIGINAL)
        _draw_arrow(axes, RIGHT - 1, LEFT + 1, top + 8.2, outcome.to_original, COPY)


def needed_height(outcomes: Sequence[Outcome]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + ROW * len(outcomes) + 0.5


def _draw_side(axes: Axes, corner: tuple[float, float], label: str, colour: str) -> None:
    left, top = corner
    axes.add_artist(
        FancyBboxPatch((left + 0.6, top + 0.6), 20.8, ROW - 3.2, boxstyle="round,pad=0.6",
                       facecolor=colour + "22", edgecolor=colour, linewidth=1.8)
    )  # fmt: skip
    axes.text(left + 11, top + (ROW - 2) / 2, label, size=style.size("body"), ha="center",
              va="center")  # fmt: skip


def _draw_arrow(
    axes: Axes, start: float, end: float, height: float, spreads: bool, colour: str
) -> None:
    """An arrow that arrives and says "shows", or one that is stopped half-way and says so."""
    middle = (start + end) / 2
    head = end if spreads else middle
    axes.annotate(
        "", xy=(head, height), xytext=(start, height),
        arrowprops={"arrowstyle": "-|>" if spreads else "-", "color": colour, "linewidth": 2.4,
                    "mutation_scale": 20, "linestyle": "-" if spreads else ":",
                    "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    if not spreads:
        axes.plot([middle], [height], marker="x", markersize=11, markeredgewidth=3.2,
                  color=style.KERNEL)  # fmt: skip
    word = "shows" if spreads else "stays where it is"
    axes.text(middle, height - 1.7, word, size=style.size("small"), ha="center", va="center")


def show_propagation(outcomes: Sequence[Outcome]) -> None:
    """Show the matrix in the notebook."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(outcomes) / 100)
    draw_propagation(figure.add_axes((0, 0, 1, 1)), outcomes)
    style.show(figure, words(outcomes), table(outcomes))
