"""The network map: a box for each network namespace, with its links, routes, rules and servers.

A bridge is a box around its ports. Cables are lines between links; a broken line is a cable with an
end that is switched off. All of it is what the kernel says. Of networks that are wired together,
the one named first is on the left, its neighbours are in the next column, and so on.
"""

import os
import re
import socket
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from labsupport.figure import style
from labsupport.figure.page import DASHES, Page
from labsupport.kernel import netlink
from labsupport.kernel.netlink import Link
from labsupport.kernel.procfs import namespaces
from labsupport.sandbox.net import Rule, listening, rules
from labsupport.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Network:
    """A network namespace: its owner, its inode number, and what is in it."""

    label: str
    inode: int
    links: tuple[Link, ...]
    routes: tuple[netlink.Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    listens: tuple[str, ...] = ()
    page: str = ""

    @property
    def served(self) -> str:
        """Where its page can be had: of what is listened at, the first that has an address here."""
        own = {address.partition("/")[0] for link in self.links for address in link.addresses}
        found = [at for at in self.listens if at.partition(":")[0] in {"*", *own}]
        return found[0] if found and self.page else ""

    def link(self, name: str) -> Link:
        return next(each for each in self.links if each.name == name)


@dataclass(frozen=True)
class End:
    """An end of a cable: the label of the network it is in, and the link's name there."""

    network: str
    link: str


Cable = tuple[End, End]


@dataclass(frozen=True)
class Snapshot:
    """Networks, and the cables between them; `host_links` are the names of this machine's links."""

    networks: tuple[Network, ...]
    cables: tuple[Cable, ...]
    host_inode: int
    host_links: tuple[str, ...]

    def __getitem__(self, label: str) -> Network:
        return next(each for each in self.networks if each.label == label)


def network(boxes: Mapping[str, Sandbox], pages: Mapping[str, str] | None = None) -> Snapshot:
    """Read the networks of labelled sandboxes from the kernel, now; `pages` is kept with them.

    Raises `LabError`: one of them shares this machine's network.
    """
    found = {}
    for label, box in boxes.items():
        inode, page = namespaces(box.holder_pid)["net"], (pages or {}).get(label, "")
        links, routes = box.net.links(), box.net.routes()
        found[label] = Network(label, inode, links, routes, rules(box), listening(box), page)
    return Snapshot(
        networks=tuple(found.values()),
        cables=_cables(boxes, found),
        host_inode=namespaces(os.getpid())["net"],
        host_links=tuple(name for _, name in socket.if_nameindex()),
    )


def _cables(boxes: Mapping[str, Sandbox], found: Mapping[str, Network]) -> tuple[Cable, ...]:
    """Match the ends: a link knows its peer's number, and a number for its peer's namespace."""
    cables: dict[frozenset[End], Cable] = {}
    for here, box in boxes.items():
        numbers = {
            netlink.namespace_number(box.net.kernel, other.holder_pid): there
            for there, other in boxes.items()
        }
        for link in found[here].links:
            number = link.peer_namespace
            there = here if number is None else numbers.get(number)
            peers = found[there].links if there and link.peer_index is not None else ()
            for peer in peers:
                if peer.index == link.peer_index:
                    ends = End(here, link.name), End(there or here, peer.name)
                    cables.setdefault(frozenset(ends), ends)
    return tuple(cables.values())


INCHES = 9.2
ROW, GAP, TAB = 3.5, 2.0, 3.2  # heights
LEFT, RIGHT, TOP = 2.2, 97.8, 11.6
CABLE = 9.0  # width between columns
DRAWN = ("loopback", "veth", "bridge")
CHARACTER = 0.95  # width of one
WIDE = 1000.0  # so that nothing is wrapped


@dataclass(frozen=True)
class Row:
    """A line in a box; `link` is set if it is a link, and cables lead to it."""

    text: str
    kind: str  # link, off, bridge, port, clash, route, rule, rate, server
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
        return TAB + len(self.rows) * ROW

    def row_of(self, link: str) -> float:
        return next(at for at, row in self.rows if row.link == link)


def written(network: Network, width: float, twice: frozenset[str] = frozenset()) -> list[Row]:
    """What is written in a network's box; addresses in `twice` clash with somebody else's."""
    # some kernels give each network a placeholder for every kind of tunnel; the table has them
    shown = [link for link in network.links if link.up or link.kind in DRAWN]
    found = [row for link in _bridges_first(shown) for row in _link_rows(link, twice)]
    found += [
        Row(f"listens {at}" + (f"  “{network.page}”" if at == network.served else ""), "server")
        for at in network.listens
    ]
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


def _bridges_first(links: Sequence[Link]) -> list[Link]:
    """Put the ports of a bridge below it."""
    ports = [link for link in links if link.master]
    found = []
    for link in links:
        if not link.master:
            found += [link, *(port for port in ports if port.master == link.name)]
    return found


def _link_rows(link: Link, twice: frozenset[str]) -> list[Row]:
    state = "" if link.up else "  off"
    usual = "port" if link.master else "bridge" if link.kind == "bridge" else "link"
    kind = usual if link.up else "off"
    name = f"{link.name} (bridge)" if link.kind == "bridge" else link.name
    found = []
    for number, address in enumerate(link.addresses or ("",)):
        clash = kind == "link" and address.partition("/")[0] in twice
        text = f"   {address}" if number else f"{name}  {address}{state}"
        mark = "✕ " if clash else ""
        row = Row(mark + text.rstrip(), "clash" if clash else kind, "" if number else link.name)
        found.append(row)
    if link.rate is not None:
        found.append(Row(f"≤ {link.rate / 1e6:.3g} MB/s out", "rate"))
    return found


def arrange(snapshot: Snapshot) -> tuple[list[Place], float]:
    """Place all boxes; return them, and how high the page must be."""
    places: list[Place] = []
    top, twice = TOP, clashes(snapshot)
    for columns in _wired(snapshot):
        top = _place(columns, top, places, twice)
    return places, top + 1.2


def _place(
    columns: Sequence[Sequence[Network]], top: float, places: list[Place], twice: frozenset[str]
) -> float:
    """Place networks that belong together; return where the next may begin."""
    width = (RIGHT - LEFT - 2.6 - CABLE * (len(columns) - 1)) / len(columns)
    rows = {each.label: written(each, width, twice) for column in columns for each in column}
    high = {label: TAB + len(lines) * ROW + GAP + 1 for label, lines in rows.items()}
    heights = [sum(high[each.label] for each in column) for column in columns]
    for number, column in enumerate(columns):
        left = LEFT + 1.3 + number * (width + CABLE)
        at = top + (max(heights) - heights[number]) / 2
        for each in column:
            first = at + TAB + 0.5 * ROW - 0.5
            lines = tuple((first + n * ROW, row) for n, row in enumerate(rows[each.label]))
            places.append(Place(each, left, at, width, lines))
            at += high[each.label]
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
            next_to = {label for each in columns[-1] for label in beside[each.label]}
            column = [label for label in left if label in next_to]
        groups.append(columns)
    return groups


DNAT = re.compile(r"dport (\d+) dnat to (\S+)")
STRIP = 6.6  # where the machine's own frame begins


def finding(snapshot: Snapshot) -> str:
    """Say in one line what the picture shows."""
    if twice := clashes(snapshot):
        return f"{' and '.join(sorted(twice))} twice on one network: a conflict"
    owners = _owners(snapshot)
    every = [(network.label, rule.text) for network in snapshot.networks for rule in network.rules]
    if found := [(label, it) for label, text in every if (it := DNAT.search(text))]:
        ways = ", ".join(f"{it[1]} leads to {it[2]}" for _, it in found)
        return f"Ports of {found[0][0]}: {ways}"
    shared = [it for it, ends in owners.items() if len(ends) > 1 and not it.startswith("127.")]
    if shared:
        times = {2: "twice", 3: "three times"}.get(len(owners[shared[-1]]), "many times")
        return f"{shared[-1]} {times}, on separate networks: no conflict"
    cables = len(snapshot.cables)
    return f"{len(snapshot.networks)} networks, {cables} cable{'s' * (cables != 1)}"


def _owners(snapshot: Snapshot) -> Mapping[str, list[End]]:
    """For each address, the links that have it."""
    owners: dict[str, list[End]] = defaultdict(list)
    for network in snapshot.networks:
        for link in network.links:
            for address in link.addresses:
                owners[address.partition("/")[0]].append(End(network.label, link.name))
    return owners


def clashes(snapshot: Snapshot) -> frozenset[str]:
    """The addresses that two links on one network have."""
    segments, owners = _segments(snapshot), _owners(snapshot)
    return frozenset(
        address for address, ends in owners.items()
        if len(ends) > len({segments[end] for end in ends})
    )  # fmt: skip


def _segments(snapshot: Snapshot) -> dict[End, End]:
    """For each link, one that stands for all that a broadcast from it reaches."""
    links = [(each.label, link) for each in snapshot.networks for link in each.links]
    stands_for = {End(label, link.name): End(label, link.name) for label, link in links}
    ports = [(End(label, it.name), End(label, it.master)) for label, it in links if it.master]
    for one, other in [*snapshot.cables, *ports]:
        old, new = stands_for[other], stands_for[one]
        stands_for = {end: new if rep == old else rep for end, rep in stands_for.items()}
    return stands_for


def words(snapshot: Snapshot) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(snapshot)}. This machine's own links: {', '.join(snapshot.host_links)}."]
    for network in snapshot.networks:
        parts.append(f"Network {network.label} ({network.inode}):")
        rows = written(network, WIDE, clashes(snapshot))
        parts += [f"{row.text.strip()}." for row in rows]
    for one, other in snapshot.cables:
        ends = f"{one.link} of {one.network} to {other.link} of {other.network}"
        parts.append(f"A cable from {ends}.")
    return " ".join(parts)


def table(snapshot: Snapshot) -> list[tuple[object, ...]]:
    """The same as rows: network, what, and what it says."""
    found: list[tuple[object, ...]] = [("network", "what", "the kernel says")]
    for network in snapshot.networks:
        for link in network.links:
            port = (f"port of {link.master}",) if link.master else ()
            said = ("up" if link.up else "down", *link.addresses, link.mac, *port)
            found.append((network.label, f"link {link.name}", ", ".join(said)))
        found += [(network.label, "listens", at) for at in network.listens]
        found += [(network.label, "route", str(route)) for route in network.routes]
        found += [(network.label, "firewall rule", str(rule)) for rule in network.rules]
    return found


def page(snapshot: Snapshot, shared: frozenset[str] = frozenset()) -> Page:
    """Draw the map; networks named in `shared` are grey."""
    places, height = arrange(snapshot)
    sheet = Page(height, finding(snapshot), inches=INCHES)
    sheet.box(0.8, STRIP, 98.4, height - STRIP - 0.8, style.HOST, fill=f"{style.HOST}0D")
    own = f"this machine · network {snapshot.host_inode} · {', '.join(snapshot.host_links[:5])}"
    sheet.text(2.4, STRIP, own, bold=True, tab=True)
    by_label = {place.network.label: place for place in places}
    for cable, bend in _bends(snapshot, by_label):
        _draw_cable(sheet, cable, by_label, bend)
    containers = [each.label for each in snapshot.networks if each.label not in shared]
    chosen = {label: style.WHO[number % len(style.WHO)] for number, label in enumerate(containers)}
    for place in places:
        _draw_place(sheet, place, chosen.get(place.network.label, style.SHARED))
    return sheet


def _draw_place(sheet: Page, place: Place, colour: str) -> None:
    box = (place.left, place.top, place.width, place.height)
    sheet.box(*box, colour, fill=style.PAPER)
    sheet.box(*box, colour, fill=f"{colour}14")
    sheet.text(place.left + 1.4, place.top, place.network.label, bold=True, tab=True)
    if within := [at for at, row in place.rows if row.kind in ("bridge", "port")]:
        top, bottom = min(within) - ROW / 2 + 0.1, max(within) + ROW / 2 - 0.1
        box = (place.left + 0.8, top, place.width - 1.6, bottom - top)
        sheet.box(*box, colour, fill=f"{colour}22", line=1.2)  # around a bridge and its ports
    for at, row in place.rows:
        inner = 1.2 if row.kind == "port" else 0.0
        if row.kind == "clash" or (row.link and row.kind != "bridge"):
            off, edge = row.kind == "off", style.KERNEL if row.kind == "clash" else colour
            look = (style.SHARED, style.FAINT) if off else (edge, style.PAPER)
            line = (place.left + 0.8 + inner, at - ROW / 2 + 0.3)
            size = (place.width - 1.6 - 2 * inner, ROW - 0.6)
            sheet.box(*line, *size, look[0], fill=look[1], dashed=off, line=1.2)
        strong = row.kind in ("rule", "rate", "clash")
        ink = style.KERNEL if strong else style.INK
        bold = strong or row.kind == "server"
        sheet.text(place.left + 1.8 + inner, at, row.text, colour=ink, bold=bold)


def _bends(snapshot: Snapshot, places: Mapping[str, Place]) -> Iterator[tuple[Cable, float]]:
    """Say for each cable where, on its way from left to right, it turns; no two in one place."""
    beside: dict[str, list[tuple[float, float, Cable]]] = defaultdict(list)
    for cable in snapshot.cables:
        left, right = sorted(cable, key=lambda end: places[end.network].left)
        out, into = (places[end.network].row_of(end.link) for end in (left, right))
        beside[left.network].append((out, into, (left, right)))
    for group in beside.values():
        group.sort(key=lambda each: each[0])
        for number, (out, into, cable) in enumerate(group):
            turn = number + 1 if into < out else len(group) - number  # so that they do not cross
            yield cable, turn / (len(group) + 1)


def _draw_cable(sheet: Page, cable: Cable, places: Mapping[str, Place], bend: float) -> None:
    one, other = (places[end.network] for end in cable)
    same = one.left == other.left
    start, end = one.left + one.width, other.left + (other.width if same else 0)
    out, into = one.row_of(cable[0].link), other.row_of(cable[1].link)
    turn = max(start, end) + 3 if same else start + bend * (end - start)
    links = [place.network.link(it.link) for place, it in zip((one, other), cable, strict=True)]
    live = all(link.carrier and link.up for link in links)
    way = ((start, out), (turn, out), (turn, into), (end, into))
    colour = style.INK if live else style.SHARED
    sheet.line(*way, colour=colour, dashes=() if live else DASHES)
    for x, y in (way[0], way[-1]):
        sheet.circle(x, y, 0.4, fill=colour, above=2)


class NetworkMap:
    """Draws the networks of named sandboxes: `NetworkMap({"server": box, …}).draw()`.

    `shared` names those that are not containers but stand between them, such as a switch or whoever
    asks: they are grey. `data` is the last reading.
    """

    def __init__(self, boxes: Mapping[str, Sandbox], shared: Iterable[str] = ()) -> None:
        self.boxes, self.shared = dict(boxes), frozenset(shared)
        self.data: Snapshot | None = None

    def draw(self, pages: Mapping[str, str] | None = None) -> None:
        """Show the map as it is now; `pages` are those that servers gave, by the server's name."""
        self.data = network(self.boxes, pages)
        page(self.data, self.shared).show(words(self.data), table(self.data))
