"""Attempts to walk out of a root folder: the folder, what lies around it, and where they ended."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.escape import Attempt
from labsupport.views import style

WIDTH = 9.2  # inches
HIGH = 43.0  # of the page, which is 100 units wide
PANEL = 47.0  # width of an attempt's


def finding(attempts: Sequence[Attempt]) -> str:
    """Say in one line what the picture shows."""
    verbs = {True: "the way out works", False: "it does not"}
    return ", ".join(
        f"{'out of' if number == 0 else 'with'} {each.how} {verbs[each.escaped]}"
        for number, each in enumerate(attempts)
    ).capitalize()


def words(attempts: Sequence[Attempt]) -> str:
    """Say all of it: the picture's text alternative."""
    return ". ".join(
        f"{each.how}: {_old_root(each)}; the program {_end(each)}, and reading the file outside "
        f"gave: {each.after}"
        for each in attempts
    )


def table(attempts: Sequence[Attempt]) -> list[tuple[object, ...]]:
    """Return a row for each attempt, with a row of headings first."""
    head = ("locked in by", "before", "after the escape", "mounts of the old root", "escaped")
    return [
        head,
        *((a.how, a.before, a.after, a.old_mounts, "yes" if a.escaped else "no") for a in attempts),
    ]


def draw_escapes(axes: Axes, attempts: Sequence[Attempt]) -> None:
    """Draw the attempts next to each other into `axes`, which fills its figure."""
    axes.set(xlim=(0, 100), ylim=(HIGH, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.5, 3.2, finding(attempts), size=style.size("title"), weight="bold", va="center")
    for number, attempt in enumerate(attempts):
        _draw_attempt(axes, attempt, 2 + number * (PANEL + 2))


def _draw_attempt(axes: Axes, attempt: Attempt, left: float) -> None:
    there = attempt.old_mounts > 0
    outside = style.HOST if there else style.SHARED
    _rounded(axes, (left, 8, PANEL, HIGH - 9.5), outside, "-" if there else ":", 0.08)
    axes.text(left + 1.6, 8, f"{attempt.how}: {_old_root(attempt)}", size=style.size("small"),
              weight="bold", va="center",
              bbox={"facecolor": style.PAPER, "edgecolor": outside, "pad": 2.2})  # fmt: skip
    ink = style.INK if there else "#666666"
    axes.text(left + 3, 13.5, "secret.txt" if there else "secret.txt: cannot be reached",
              size=style.size("body"), va="center", color=ink,
              style="normal" if there else "italic")  # fmt: skip
    _rounded(axes, (left + 10, 18.5, PANEL - 13, 15), style.FIRST, "-", 0.14)
    axes.text(left + 11.6, 18.5, "the new root folder", size=style.size("small"), weight="bold",
              va="center",
              bbox={"facecolor": style.PAPER, "edgecolor": style.FIRST, "pad": 2.2})  # fmt: skip
    start, top = (left + 37, 27.5), (left + 37, 13.5 if attempt.escaped else 20.6)
    axes.annotate("", xy=top, xytext=start, arrowprops={
        "arrowstyle": "-|>", "color": style.KERNEL if attempt.escaped else style.INK,
        "linewidth": 2.4, "mutation_scale": 20})  # fmt: skip
    if attempt.escaped:
        axes.text(left + 38.5, 14, "out", size=style.size("body"), weight="bold", va="center")
    else:
        axes.plot([top[0] - 2.2, top[0] + 2.2], [20.1, 20.1], color=style.KERNEL, linewidth=4)
        axes.text(left + 35.4, 23.4, "“..” ends here", size=style.size("small"), ha="right",
                  va="center")  # fmt: skip
    axes.text(left + 29.5, 30, "the program: cd .. , 64 times", size=style.size("body"),
              ha="center", va="center")  # fmt: skip
    axes.text(left + 3, HIGH - 5.2, f"Reading the file gave: {attempt.after}",
              size=style.size("small"), va="center")  # fmt: skip


def _old_root(attempt: Attempt) -> str:
    if attempt.old_mounts == 0:
        return "the old root is unmounted"
    return f"the old root is there ({attempt.old_mounts} mounts)"


def _end(attempt: Attempt) -> str:
    return "got out" if attempt.escaped else "stayed inside"


def _rounded(
    axes: Axes, box: tuple[float, float, float, float], colour: str, line: str, alpha: float
) -> None:
    left, top, width, height = box
    axes.add_artist(
        FancyBboxPatch((left + 0.6, top + 0.6), width - 1.2, height - 1.2,
                       boxstyle="round,pad=0.6", facecolor=f"{colour}{int(alpha * 255):02x}",
                       edgecolor=colour, linewidth=1.8, linestyle=line)
    )  # fmt: skip


def show_escapes(attempts: Sequence[Attempt]) -> None:
    """Show the attempts in the notebook."""
    figure = style.new_figure(WIDTH, WIDTH * HIGH / 100)
    draw_escapes(figure.add_axes((0, 0, 1, 1)), attempts)
    style.show(figure, words(attempts), table(attempts))
