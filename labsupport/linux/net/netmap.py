"""Several networks at one moment, and which cable leads where: what the network map draws."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labsupport.linux.net import firewall, netstate
from labsupport.linux.procfs import namespaces

if TYPE_CHECKING:
    from labsupport.linux.sandbox import Sandbox


@dataclass(frozen=True)
class Network:
    """A network namespace: whose it is, its inode number, and what is in it."""

    label: str
    inode: int
    links: tuple[netstate.Link, ...]
    routes: tuple[netstate.Route, ...] = ()
    rules: tuple[firewall.Rule, ...] = ()

    @property
    def forwards(self) -> bool:
        """Whether it passes packets on between its links."""
        return any(link.forwards for link in self.links if link.kind != "loopback")


@dataclass(frozen=True)
class End:
    """An end of a cable: the label of the network it is in, and the link's name there."""

    network: str
    link: str


@dataclass(frozen=True)
class Snapshot:
    """Networks, and the cables between them; `host_links` are the names of this machine's links."""

    networks: tuple[Network, ...]
    cables: tuple[tuple[End, End], ...]
    host_inode: int
    host_links: tuple[str, ...]

    def __getitem__(self, label: str) -> Network:
        return next(each for each in self.networks if each.label == label)


def network(boxes: Mapping[str, Sandbox]) -> Snapshot:
    """Read the networks of labelled sandboxes from the kernel, now.

    Raises:
        NoNetwork: one of them shares this machine's network.

    """
    found = {label: _read(label, box) for label, box in boxes.items()}
    return Snapshot(
        networks=tuple(found.values()),
        cables=_cables(boxes, found),
        host_inode=namespaces(os.getpid())["net"],
        host_links=tuple(name for _, name in socket.if_nameindex()),
    )


def _read(label: str, box: Sandbox) -> Network:
    inode = namespaces(box.holder_pid)["net"]
    return Network(label, inode, box.net.links(), box.net.routes(), firewall.rules(box))


def _cables(
    boxes: Mapping[str, Sandbox], found: Mapping[str, Network]
) -> tuple[tuple[End, End], ...]:
    """Match the ends: a link knows its peer's number, and a number for its peer's namespace."""
    found_so_far: dict[frozenset[End], tuple[End, End]] = {}
    for here, box in boxes.items():
        numbers = {
            netstate.namespace_number(box.net.kernel, other.holder_pid): there
            for there, other in boxes.items()
        }
        for link in found[here].links:
            number = link.peer_namespace
            there = here if number is None else numbers.get(number)
            if link.peer_index is None or there is None:
                continue
            for peer in found[there].links:
                if peer.index == link.peer_index:
                    ends = End(here, link.name), End(there, peer.name)
                    found_so_far.setdefault(frozenset(ends), ends)
    return tuple(found_so_far.values())
