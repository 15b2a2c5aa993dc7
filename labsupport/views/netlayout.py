"""Where things stand on the network map: a box for each network, columns from left to right.

Whoever is named first of those that are wired together stands left, their neighbours in the next
column, and so on; those that no cable leads to stand side by side.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labsupport.linux.net.netmap import Network, Snapshot
from labsupport.linux.net.netstate import Link

ROW, GAP, TAB = 3.5, 2.0, 3.2  # heights, in units of which the page is 100 wide
LEFT, RIGHT, TOP = 2.2, 97.8, 11.6
CABLE = 9.0  # width between columns
DRAWN = ("loopback", "veth", "bridge")
CHARACTER = 0.95  # width of one


@dataclass(frozen=True)
class Row:
    """A line in a box; `link` is set if it is a link, and cables lead to it."""

    text: str
    kind: str  # link, off, port, route, rule, rate
    link: str = ""


@dataclass(frozen=True)
class Place:
    """A network's box: left, top, width, height, and its rows with the middle of each."""

    network: Network
    left: float
    top: float
    width: float
    rows: tuple[tuple[float, Row], ...]

    @property
    def height(self) -> float:
        """From the upper edge to the lower."""
        return TAB + len(self.rows) * ROW

    def row_of(self, link: str) -> float:
        """The middle of a link's row."""
        return next(at for at, row in self.rows if row.link == link)


def rows(network: Network, width: float) -> list[Row]:
    """What is written in a network's box."""
    # some kernels give each network a placeholder for every kind of tunnel; the table has them
    shown = [link for link in network.links if link.up or link.kind in DRAWN]
    found = [row for link in shown for row in _link_rows(link)]
    found += [Row(f"→ {r.to}: {r.via or r.link}", "route") for r in network.routes]
    for rule in network.rules:
        rewrites = " dnat " in rule.text or "masquerade" in rule.text
        found.append(Row(f"{'⇄' if rewrites else '✕'} {rule.text}", "rule"))
    room = int((width - 3.4) / CHARACTER)
    wrapped = []
    for row in found:
        lines = textwrap.wrap(row.text, room, subsequent_indent="   ") or [""]
        wrapped += [Row(lines[0], row.kind, row.link), *(Row(line, row.kind) for line in lines[1:])]
    return wrapped


def _link_rows(link: Link) -> list[Row]:
    state = "" if link.up else "  off"
    kind = "port" if link.master else "link" if link.up else "off"
    name = f"{link.name} (bridge)" if link.kind == "bridge" else link.name
    first, *others = link.addresses or ("",)
    found = [Row(f"{name}  {first}{state}".rstrip(), kind, link.name)]
    found += [Row(f"   {address}", kind) for address in others]
    if link.rate is not None:
        found.append(Row(f"≤ {link.rate / 1e6:.3g} MB/s out", "rate"))
    return found


def arrange(snapshot: Snapshot) -> tuple[list[Place], float]:
    """Place all boxes; return them, and how high the page must be."""
    places: list[Place] = []
    top = TOP
    loners = []
    for columns in _wired(snapshot):
        if len(columns) == 1:
            loners += columns[0]
        else:
            top = _place(columns, top, places)
    for start in range(0, len(loners), 4):
        columns = [[each] for each in loners[start : start + 4]]
        top = _place(columns, top, places, gap=GAP)
    return places, top + 1.2


def _place(
    columns: Sequence[Sequence[Network]], top: float, places: list[Place], gap: float = CABLE
) -> float:
    """Place networks that belong together; return where the next may begin."""
    width = (RIGHT - LEFT - 2.6 - gap * (len(columns) - 1)) / len(columns)
    heights = [
        sum(TAB + len(rows(each, width)) * ROW + GAP + 1 for each in column) for column in columns
    ]
    for number, column in enumerate(columns):
        left = LEFT + 1.3 + number * (width + gap)
        at = top + (max(heights) - heights[number]) / 2
        for each in column:
            lines = tuple(
                (at + TAB + (count + 0.5) * ROW - 0.5, row)
                for count, row in enumerate(rows(each, width))
            )
            places.append(Place(each, left, at, width, lines))
            at += TAB + len(lines) * ROW + GAP + 1
    return top + max(heights)


def _wired(snapshot: Snapshot) -> list[list[list[Network]]]:
    """Sort networks into groups that are wired together, each as columns."""
    beside: Mapping[str, list[str]] = {each.label: [] for each in snapshot.networks}
    for one, other in snapshot.cables:
        beside[one.network].append(other.network)
        beside[other.network].append(one.network)
    left = [each.label for each in snapshot.networks]
    groups = []
    while left:
        column, columns = [left[0]], []
        while column:
            columns.append([snapshot[label] for label in column])
            left = [label for label in left if label not in column]
            column = [label for label in left if any(label in beside[each.label]
                                                     for each in columns[-1])]  # fmt: skip
        groups.append(columns)
    return groups
