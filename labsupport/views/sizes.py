"""Sizes that lie far apart, as bars: each step of the scale is ten times as much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from labsupport.views import style
from labsupport.views.amounts import amount

WIDTH = 9.2  # inches
PRINTED = "(printed)"
"""Ends the name of a size that was not measured here; its bar is hatched."""


def finding(sizes: Mapping[str, int]) -> str:
    """Say in one line what the picture shows."""
    measured = [size for name, size in sizes.items() if not name.endswith(PRINTED)]
    ratio = max(measured) / max(1, min(measured))
    times = f"{ratio:,.0f}" if ratio < 1e6 else f"{ratio / 1e6:,.0f} million"
    return f"From {amount(min(measured))} to {amount(max(measured))}: {times} times as much"


def draw_sizes(axes: Axes, sizes: Mapping[str, int]) -> None:
    """Draw one bar for each size, on a scale of powers of ten."""
    for place, (name, size) in enumerate(sizes.items()):
        is_printed = name.endswith(PRINTED)
        axes.barh(place, size, left=1, height=0.62, color=style.PAPER if is_printed else style.HOST,
                  edgecolor=style.HOST, hatch="///" if is_printed else None)  # fmt: skip
        axes.text(size * 1.25, place, amount(size), va="center", size=style.size("body"),
                  weight="bold")  # fmt: skip
    most = max(sizes.values())
    axes.set_xscale("log")
    axes.set(ylim=(len(sizes) - 0.4, -0.6), xlim=(1, most * 60))
    axes.set_yticks(range(len(sizes)), list(sizes), size=style.size("body"))
    powers = range(0, math.ceil(math.log10(most)) + 1, 3)
    axes.set_xticks([10**power for power in powers], [amount(10**power) for power in powers])
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=style.size("small"))
    axes.set_xlabel("each step of the scale: a thousand times as much", size=style.size("small"))
    axes.spines[["top", "right"]].set_visible(False)


def show_sizes(sizes: Mapping[str, int]) -> None:
    """Show sizes in bytes, by what they are of; a name may end with "(printed)"."""
    high = 1.3 + 0.45 * len(sizes)
    figure = style.new_figure(WIDTH, high)
    draw_sizes(figure.add_axes((0.34, 0.6 / high, 0.64, 1 - 1.2 / high)), sizes)
    title: dict[str, Any] = {"size": style.size("title"), "weight": "bold", "va": "center"}
    figure.text(0.015, 1 - 0.3 / high, finding(sizes), **title)
    said = "; ".join(f"{name}: {amount(size)}" for name, size in sizes.items())
    table = [("what", "bytes"), *((name, f"{size:,}") for name, size in sizes.items())]
    style.show(figure, f"{finding(sizes)}. {said}.", table)
