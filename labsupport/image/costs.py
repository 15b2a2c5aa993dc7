"""What images cost, side by side: room, and what one changed line takes to build and to push."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import amount

INCHES = 10.0
TOP, ROW, BOTTOM = 12.0, 7.6, 4.6  # on a page 100 units wide
WIDE = 15.5  # of the longest bar in a column
LEFT = (20.5, 50.0, 76.5)  # where the columns begin


@dataclass(frozen=True)
class Cost:
    """An image: its size with that of its base in it, and what one changed line of code costs.

    `rebuild_seconds` is the time of the build after the change, `pushed_bytes` what a registry that
    had the image of before has to store for the new one.
    """

    size_bytes: int
    base_bytes: int
    rebuild_seconds: float
    pushed_bytes: int

    @property
    def own_bytes(self) -> int:
        """What it adds to its base."""
        return self.size_bytes - self.base_bytes


Costs = Mapping[str, Cost]
Column = tuple[str, Callable[[Cost], float], Callable[[Cost], str]]
COLUMNS: tuple[Column, ...] = (
    ("size", lambda cost: cost.size_bytes, lambda cost: amount(cost.size_bytes)),
    (
        "build again",
        lambda cost: cost.rebuild_seconds,
        lambda cost: f"{cost.rebuild_seconds:.1f} s",
    ),
    ("push again", lambda cost: cost.pushed_bytes, lambda cost: amount(cost.pushed_bytes)),
)


def finding(costs: Costs) -> str:
    """Say in one line what the picture shows: the last image against the first."""
    (name, last), first = list(costs.items())[-1], next(iter(costs.values()))
    return (
        f"{name[:1].upper()}{name[1:]}: {amount(last.own_bytes)} on the base, not "
        f"{amount(first.own_bytes)}; a new line pushes {amount(last.pushed_bytes)}"
    )


def words(costs: Costs) -> str:
    """Say all of it: the picture's text alternative."""
    said = "; ".join(
        f"{name}: {amount(cost.size_bytes)}, {amount(cost.base_bytes)} of them its base; after a "
        f"changed line {cost.rebuild_seconds:.1f} s to build, {amount(cost.pushed_bytes)} to push"
        for name, cost in costs.items()
    )
    return f"{finding(costs)}. {said}."


def table(costs: Costs) -> list[tuple[object, ...]]:
    """The same as rows."""
    head = ("image", "bytes", "of them the base", "seconds to build again", "bytes pushed again")
    return [
        head,
        *(
            (name, f"{cost.size_bytes:,}", f"{cost.base_bytes:,}", f"{cost.rebuild_seconds:.1f}",
             f"{cost.pushed_bytes:,}")
            for name, cost in costs.items()
        ),
    ]  # fmt: skip


def page(costs: Costs) -> Page:
    """Draw a row for each image, and a column of bars from zero for each kind of cost."""
    sheet = Page(TOP + len(costs) * ROW + BOTTOM, finding(costs), inches=INCHES)
    for x, (head, of, said) in zip(LEFT, COLUMNS, strict=True):
        sheet.text(x, TOP - 3.0, head, "body", bold=True)
        most = max(of(cost) for cost in costs.values()) or 1
        for row, cost in enumerate(costs.values()):
            _draw_bar(sheet, x, row, WIDE * of(cost) / most, said(cost))
    for row, (name, cost) in enumerate(costs.items()):
        sheet.text(1.2, _middle(row), name, "body")
        base = WIDE * cost.base_bytes / max(each.size_bytes for each in costs.values())
        _fill(sheet, LEFT[0], row, base, style.SHARED)
    key = "grey: the base, which all of them share;  again: after one changed line of the app"
    sheet.text(1.2, sheet.height - BOTTOM / 2, key)
    return sheet


def _middle(row: int) -> float:
    return TOP + row * ROW + ROW / 2


def _draw_bar(sheet: Page, x: float, row: int, length: float, said: str) -> None:
    _fill(sheet, x, row, length, style.FIRST)
    sheet.text(x + length + 0.8, _middle(row), said, bold=True)


def _fill(sheet: Page, x: float, row: int, length: float, colour: str) -> None:
    sheet.box(x, _middle(row) - 1.9, length, 3.8, colour, fill=colour, pad=0, linewidth=0)


def show_costs(costs: Costs) -> None:
    """Show them in the notebook, with words and a table."""
    page(costs).show(words(costs), table(costs))
