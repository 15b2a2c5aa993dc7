"""How CPU time was shared: one bar for each group, measured beside what its weight promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes

from labsupport.views import style


@dataclass(frozen=True)
class Share:
    """A group's weight, and the CPU seconds that it got."""

    name: str
    weight: int
    cpu_seconds: float


def ratio(shares: list[Share]) -> float:
    """Return how many times the first one's CPU time the last one got."""
    return shares[-1].cpu_seconds / shares[0].cpu_seconds


def finding(shares: list[Share]) -> str:
    """Say in one line what the picture shows."""
    weights = " : ".join(f"{share.weight}" for share in shares)
    first = shares[0].cpu_seconds
    got = " : ".join(f"{share.cpu_seconds / first:.1f}".removesuffix(".0") for share in shares)
    return f"Weights {weights}, CPU time {got}"


def words(shares: list[Share]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [
        f"{share.name}, weight {share.weight}: {share.cpu_seconds:.2f} s of CPU time."
        for share in shares
    ]
    return f"{finding(shares)}. {' '.join(parts)}"


def table(shares: list[Share]) -> list[tuple[object, ...]]:
    """The same as rows."""
    total, weights = sum(s.cpu_seconds for s in shares), sum(s.weight for s in shares)
    return [
        ("group", "weight", "promised", "CPU seconds", "got"),
        *(
            (s.name, s.weight, f"{s.weight / weights:.0%}", f"{s.cpu_seconds:.2f}",
             f"{s.cpu_seconds / total:.0%}")
            for s in shares
        ),
    ]  # fmt: skip


def show_shares(measured: Mapping[str, tuple[int, float]]) -> None:
    """Show how CPU time was shared: `{name: (weight, CPU seconds)}`."""
    shares = [Share(name, weight, seconds) for name, (weight, seconds) in measured.items()]
    figure = style.new_figure(8.6, 1.1 + 0.62 * len(shares))
    axes = figure.add_axes((0.02, 0.16, 0.96, 0.6))
    draw_shares(axes, shares)
    figure.text(0.02, 0.97, finding(shares), size=style.size("title"), weight="bold", va="top")
    style.show(figure, words(shares), table(shares))


def draw_shares(axes: Axes, shares: list[Share]) -> None:
    """Draw one bar across, divided as the CPU time was, with a dashed line for the promise."""
    total, weights = sum(s.cpu_seconds for s in shares), sum(s.weight for s in shares)
    left = promised = 0.0
    for share, colour in zip(shares, style.WHO, strict=False):
        part = share.cpu_seconds / total
        axes.barh(0, part, left=left, height=1, color=colour + "88", edgecolor=style.INK)
        axes.text(
            left + part / 2, 0,
            f"{share.name}, weight {share.weight}\n{share.cpu_seconds:.2f} s, {part:.0%}",
            ha="center", va="center", size=style.size("body"),
        )  # fmt: skip
        left += part
        promised += share.weight / weights
        if share is not shares[-1]:
            axes.plot([promised] * 2, [-0.72, 0.72], color=style.INK, lw=1.8, ls=(0, (4, 3)))
            axes.text(promised, -0.78, f"promised: {promised:.0%}", ha="center", va="top",
                      size=style.size("small"))  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(-1.1, 0.8))
    axes.axis("off")
