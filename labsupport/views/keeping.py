"""What kept a namespace alive, step by step, until nothing did."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.namespaces import Keepers, keepers, namespace
from labsupport.views import style

WIDTH, HEIGHT = 9.2, 3.7  # inches
LEFT, TOP, HIGH, GAP = 24.0, 18.0, 5.2, 2.0  # on a page 100 units wide
ROWS = ("a process in it", "an open descriptor", "a bind mount")


@dataclass(frozen=True)
class Step:
    """A moment: what had just been done, and what kept the namespace then."""

    label: str
    kept: Keepers

    def cells(self) -> tuple[str, str, str]:
        """What to write into each row; empty where nothing of that sort keeps it."""
        processes = ", ".join(f"PID {pid}" for pid in self.kept.processes)
        descriptors = ", ".join(f"{fd} of PID {pid}" for pid, fd in self.kept.descriptors)
        places = ", ".join(place.rpartition("/")[2] for place in self.kept.mounts)
        return processes, descriptors, places


class Keeping:
    """A namespace watched step by step: `watch.look("it ends")`, and at last `watch.draw()`."""

    def __init__(self, kind: str, inode: int) -> None:
        self.kind, self.inode = kind, inode
        inside = keepers(kind, inode).processes
        self.ns_id = namespace(kind, of=inside[0]).ns_id if inside else None
        self.steps: list[Step] = []

    def look(self, label: str) -> Keepers:
        """Ask what keeps it now, and remember that under a few words."""
        self.steps.append(Step(label, keepers(self.kind, self.inode, self.ns_id)))
        return self.steps[-1].kept

    def draw(self) -> None:
        """Show all steps so far."""
        figure = style.new_figure(WIDTH, HEIGHT)
        draw_keeping(figure.add_axes((0, 0, 1, 1)), self.steps)
        style.show(figure, words(self.steps), table(self.steps))


def finding(steps: Sequence[Step]) -> str:
    """Say in one line what the picture shows."""
    empty = [step for step in steps if step.kept and not step.kept.processes]
    gone = " Then nothing did: it is gone" if steps and not steps[-1].kept else ""
    if not empty:
        return f"A process keeps the namespace.{gone}"
    many = {1: "Once", 2: "Twice"}.get(len(empty), f"{len(empty)} times")
    return f"{many} it was kept without a process.{gone}"


def words(steps: Sequence[Step]) -> str:
    """Say all of it: the picture's text alternative."""
    told = [f"After “{step.label}” it is {str(step.kept).strip('<>')}." for step in steps]
    return " ".join([f"{finding(steps).rstrip('.')}.", *told])


def table(steps: Sequence[Step]) -> list[tuple[object, ...]]:
    """The same as rows."""
    return [("after", *ROWS), *((step.label, *step.cells()) for step in steps)]


def draw_keeping(axes: Axes, steps: Sequence[Step]) -> None:
    """Draw the steps from left to right into `axes`, which fills its figure."""
    axes.set(xlim=(0, 100), ylim=(100 * HEIGHT / WIDTH, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.8, finding(steps), size=style.size("title"), weight="bold", va="center")
    for row, label in enumerate(ROWS):
        axes.text(1.2, _middle(row), label, size=style.size("body"), weight="bold", va="center")
    wide = (99 - LEFT) / max(1, len(steps))
    for index, step in enumerate(steps):
        left = LEFT + index * wide
        axes.text(left + wide / 2, TOP - 2.4, textwrap.fill(step.label, int(wide * 0.75)),
                  size=style.size("small"), ha="center", va="bottom")  # fmt: skip
        for row, text in enumerate(step.cells()):
            if text:
                _draw_keeper(axes, left, wide, row, text)
        if not step.kept:
            axes.text(left + wide / 2, _middle(1), "gone", size=style.size("large"), ha="center",
                      va="center", weight="bold", color=style.KERNEL)  # fmt: skip
            axes.plot([left + 0.6] * 2, [TOP - 0.5, _middle(2) + HIGH / 2], color=style.KERNEL,
                      lw=2, ls="--")  # fmt: skip


def _middle(row: int) -> float:
    return TOP + row * (HIGH + GAP) + HIGH / 2


def _draw_keeper(axes: Axes, left: float, wide: float, row: int, text: str) -> None:
    colour = style.WHO[row]
    axes.add_artist(
        FancyBboxPatch(
            (left + 1.2, _middle(row) - HIGH / 2 + 0.6), wide - 2.4, HIGH - 1.2,
            boxstyle="round,pad=0.6", facecolor=colour + "66", edgecolor=colour, linewidth=1.8,
        )
    )  # fmt: skip
    axes.text(left + wide / 2, _middle(row), text, size=style.size("small"), ha="center",
              va="center")  # fmt: skip
