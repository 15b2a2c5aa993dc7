"""The network map: a box for each network namespace, with its links, routes and firewall rules.

Cables are lines between links; a broken line is a cable with an end that is switched off. All of it
is what the kernel says, see `labsupport.linux.net.netmap`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.linux.net.netmap import End, Snapshot
from labsupport.linux.net.netstate import Link
from labsupport.views import style
from labsupport.views.netlayout import ROW, Place, Row, arrange

_DNAT = re.compile(r"dport (\d+) dnat to (\S+)")
STRIP = 6.6  # where the machine's own frame begins


def finding(snapshot: Snapshot) -> str:
    """Say in one line what the picture shows."""
    owners: dict[str, list[End]] = {}
    for network in snapshot.networks:
        for link in network.links:
            for address in link.addresses:
                owners.setdefault(address.partition("/")[0], []).append(
                    End(network.label, link.name)
                )
    segments = _segments(snapshot)
    for address, ends in owners.items():
        places = [segments[end] for end in ends]
        if len(places) > len(set(places)):
            return f"{address} twice on one network: a conflict"
    shared = [
        address for address, ends in owners.items() if len(ends) > 1 and address[:4] != "127."
    ]
    published = [
        (network.label, *found.groups())
        for network in snapshot.networks
        for rule in network.rules
        if (found := _DNAT.search(rule.text))
    ]
    if published:
        ways = ", ".join(f"{port} leads to {there}" for _, port, there in published)
        return f"Ports of {published[0][0]}: {ways}"
    filters = [network.label for network in snapshot.networks if network.rules]
    if len(filters) == 1:
        return f"A firewall in one network only: {filters[0]}"
    if shared:
        times = {2: "twice", 3: "three times"}.get(len(owners[shared[-1]]), "many times")
        return f"{shared[-1]} {times}, on separate networks: no conflict"
    if not snapshot.cables:
        return f"{len(snapshot.networks)} networks, and no cable: each is alone"
    return _count(snapshot)


def _count(snapshot: Snapshot) -> str:
    cables = len(snapshot.cables)
    routers = [each.label for each in snapshot.networks if _is_router(snapshot, each.label)]
    tail = f"; {routers[0]} passes packets on" if routers else ""
    return f"{len(snapshot.networks)} networks, {cables} cable{'s' * (cables > 1)}{tail}"


def _is_router(snapshot: Snapshot, label: str) -> bool:
    network = snapshot[label]
    addressed = [link for link in network.links if link.addresses and link.kind != "loopback"]
    return network.forwards and len(addressed) > 1


def _segments(snapshot: Snapshot) -> dict[End, End]:
    """For each link, one that stands for all that a broadcast from it reaches."""
    stands_for = {
        End(each.label, link.name): End(each.label, link.name)
        for each in snapshot.networks
        for link in each.links
    }
    joined = list(snapshot.cables)
    for each in snapshot.networks:
        joined += [(End(each.label, link.name), End(each.label, link.master))
                   for link in each.links if link.master]  # fmt: skip
    for one, other in joined:
        old, new = stands_for[other], stands_for[one]
        stands_for = {end: new if rep == old else rep for end, rep in stands_for.items()}
    return stands_for


def words(snapshot: Snapshot) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(snapshot)}. This machine's own links: {', '.join(snapshot.host_links)}."]
    for network in snapshot.networks:
        parts.append(f"Network {network.label} ({network.inode}):")
        parts += [f"{row.text.strip()}." for row in _all_rows(snapshot, network.label)]
    for one, other in snapshot.cables:
        parts.append(
            f"A cable from {one.link} of {one.network} to {other.link} of {other.network}."
        )
    return " ".join(parts)


def _all_rows(snapshot: Snapshot, label: str) -> Iterator[Row]:
    places, _ = arrange(snapshot)
    yield from (row for place in places if place.network.label == label for _, row in place.rows)


def table(snapshot: Snapshot) -> list[tuple[object, ...]]:
    """The same as rows: network, what, and what it says."""
    found: list[tuple[object, ...]] = [("network", "what", "the kernel says")]
    for network in snapshot.networks:
        for link in network.links:
            state = "up" if link.up else "down"
            port = (f"port of {link.master}",) if link.master else ()
            said = ", ".join((state, *link.addresses, link.mac, *port))
            found.append((network.label, f"link {link.name}", said))
        found += [(network.label, "route", str(route)) for route in network.routes]
        found += [(network.label, "firewall rule", str(rule)) for rule in network.rules]
    return found


def needed_height(snapshot: Snapshot) -> float:
    """How high a page, 100 units wide, the map needs."""
    return arrange(snapshot)[1]


def colours(snapshot: Snapshot, shared: frozenset[str] = frozenset()) -> Mapping[str, str]:
    """Give each network its colour: containers in order, what is shared by them grey."""
    own = [each.label for each in snapshot.networks if each.label not in shared]
    chosen = {label: style.WHO[number % len(style.WHO)] for number, label in enumerate(own)}
    return {each.label: chosen.get(each.label, style.SHARED) for each in snapshot.networks}


def draw_network(axes: Axes, snapshot: Snapshot, shared: frozenset[str] = frozenset()) -> None:
    """Draw the map into `axes`, which fills its figure; networks named in `shared` are grey."""
    places, height = arrange(snapshot)
    axes.set(xlim=(0, 100), ylim=(height, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.4, 2.9, finding(snapshot), size=style.size("title"), weight="bold", va="center")
    _rounded(axes, (0.8, STRIP, 98.4, height - STRIP - 0.8), style.HOST, style.HOST + "0D")
    own = f"this machine · network {snapshot.host_inode} · {', '.join(snapshot.host_links[:5])}"
    _tab(axes, 2.4, STRIP, own, style.HOST)
    chosen = colours(snapshot, shared)
    by_label = {place.network.label: place for place in places}
    for cable, bend in _bends(snapshot, by_label):
        _draw_cable(axes, snapshot, cable, by_label, bend)
    for place in places:
        _draw_place(axes, place, chosen[place.network.label])


def _draw_place(axes: Axes, place: Place, colour: str) -> None:
    _rounded(axes, (place.left, place.top, place.width, place.height), colour, style.PAPER)
    _rounded(axes, (place.left, place.top, place.width, place.height), colour, colour + "14")
    _tab(axes, place.left + 1.4, place.top, place.network.label, colour)
    for at, row in place.rows:
        _draw_row(axes, place, at, row, colour)


def _draw_row(axes: Axes, place: Place, at: float, row: Row, colour: str) -> None:
    left = place.left + 1.8
    if row.link:
        box = (place.left + 0.8, at - ROW / 2 + 0.3, place.width - 1.6, ROW - 0.6)
        off = row.kind == "off"
        _rounded(axes, box, "#999999" if off else colour, "#EEEEEE" if off else style.PAPER,
                 line="--" if off else "-", width=1.2, radius=0.4)  # fmt: skip
    ink = {"rule": style.KERNEL, "rate": style.KERNEL}.get(row.kind, style.INK)
    weight = "bold" if row.kind in ("rule", "rate") else "normal"
    axes.text(left, at, row.text, size=style.size("small"), va="center", color=ink, weight=weight)


def _bends(
    snapshot: Snapshot, places: Mapping[str, Place]
) -> Iterator[tuple[tuple[End, End], float]]:
    """Say for each cable where, on its way from left to right, it turns: no two at one place."""
    beside: dict[str, list[tuple[float, float, tuple[End, End]]]] = {}
    for cable in snapshot.cables:
        left, right = sorted(cable, key=lambda end: places[end.network].left)
        ends = [places[end.network].row_of(end.link) for end in (left, right)]
        beside.setdefault(left.network, []).append((ends[0], ends[1], cable))
    for group in beside.values():
        group.sort(key=lambda each: each[0])
        for number, (out, into, cable) in enumerate(group):
            turn = number + 1 if into < out else len(group) - number  # so that they do not cross
            yield cable, turn / (len(group) + 1)


def _draw_cable(
    axes: Axes, snapshot: Snapshot, cable: tuple[End, End], places: Mapping[str, Place], bend: float
) -> None:
    first, second = ((places[end.network], end.link) for end in cable)
    if first[0].left > second[0].left:
        first, second = second, first
    (one, out), (other, into) = first, second
    same = one.left == other.left
    start = (one.left + one.width, one.row_of(out))
    end = (other.left + (other.width if same else 0), other.row_of(into))
    live = all(_link(snapshot, e).carrier and _link(snapshot, e).up for e in cable)
    middle = max(start[0], end[0]) + 3 if same else start[0] + bend * (end[0] - start[0])
    axes.plot(
        [start[0], middle, middle, end[0]], [start[1], start[1], end[1], end[1]],
        color=style.INK if live else "#999999", linestyle="-" if live else (0, (2, 2)),
        linewidth=2.2, solid_joinstyle="round", marker="o", markevery=[0, 3], markersize=5,
    )  # fmt: skip


def _link(snapshot: Snapshot, end: End) -> Link:
    return next(each for each in snapshot[end.network].links if each.name == end.link)


def _tab(axes: Axes, left: float, middle: float, text: str, colour: str) -> None:
    axes.text(
        left, middle, text, size=style.size("small"), va="center", weight="bold", color=style.INK,
        bbox={"facecolor": style.PAPER, "edgecolor": colour, "pad": 2.2, "linewidth": 1},
    )  # fmt: skip


def _rounded(
    axes: Axes, box: tuple[float, float, float, float], edge: str, face: str,
    line: str = "-", width: float = 1.8, radius: float = 0.6,
) -> None:  # fmt: skip
    left, top, wide, high = box
    axes.add_artist(
        FancyBboxPatch(
            (left + radius, top + radius), wide - 2 * radius, high - 2 * radius,
            boxstyle=f"round,pad={radius}", facecolor=face, edgecolor=edge, linewidth=width,
            linestyle=line,
        )
    )  # fmt: skip
