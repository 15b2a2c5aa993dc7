"""What is in a network namespace now, read over rtnetlink(7), as frozen dataclasses. IPv4 only."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labsupport.linux.net import netlink
from labsupport.linux.net.netlink import Netlink, attributes

IFF_UP = 1
NUD_NOARP, NUD_FAILED = 0x40, 0x20  # linux/neighbour.h
RT_TABLE_MAIN, RTN_UNICAST = 254, 1


@dataclass(frozen=True)
class Link:
    """A link, as `ip address` shows it.

    `up` is its switch; `carrier` tells whether the other end is switched on, too. `kind` is
    "loopback", "veth", "bridge" or what else the kernel says. `master` is the name of the bridge
    that it is a port of. `peer_index` is the number of a cable's other end, in the namespace that
    `peer_namespace` stands for *here* (None: this one). `rate` is a token bucket's, in bytes per
    second. `forwards` tells whether packets that come in here may be passed on.
    """

    index: int
    name: str
    kind: str
    up: bool
    carrier: bool
    mac: str
    addresses: tuple[str, ...] = ()
    master: str | None = None
    peer_index: int | None = None
    peer_namespace: int | None = None
    rate: int | None = None
    forwards: bool = False


@dataclass(frozen=True)
class Route:
    """A route to a network ("default": everywhere else), via a gateway or straight by a link."""

    to: str
    via: str | None
    link: str

    def __str__(self) -> str:
        return f"{self.to} via {self.via}" if self.via else f"{self.to} directly, by {self.link}"


def links(kernel: Netlink) -> tuple[Link, ...]:
    """Read all links with their addresses and rates."""
    messages = kernel.dump(netlink.RTM_GETLINK)
    names = {message["index"]: attributes(message)["IFLA_IFNAME"] for message in messages}
    given: dict[int, list[str]] = {}
    for message in kernel.dump(netlink.RTM_GETADDR, family=int(socket.AF_INET)):
        text = f"{attributes(message)['IFA_LOCAL']}/{message['prefixlen']}"
        given.setdefault(message["index"], []).append(text)
    limits = rates(kernel)
    return tuple(
        _link(message, names, tuple(given.get(message["index"], ())), limits)
        for message in messages
    )


def _link(
    message: Any, names: Mapping[int, str], addresses: tuple[str, ...], limits: Mapping[int, int]
) -> Link:
    facts = attributes(message)
    info = attributes(facts.get("IFLA_LINKINFO", {}))
    kind = info.get("IFLA_INFO_KIND") or ("loopback" if message["ifi_type"] == 772 else "other")
    settings = attributes(facts.get("IFLA_AF_SPEC", {})).get("AF_INET", {})
    return Link(
        index=message["index"],
        name=facts["IFLA_IFNAME"],
        kind=kind,
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(facts.get("IFLA_CARRIER")),
        mac=facts.get("IFLA_ADDRESS", ""),
        addresses=addresses,
        master=names.get(facts.get("IFLA_MASTER", 0)),
        peer_index=facts.get("IFLA_LINK") if kind == "veth" else None,
        peer_namespace=facts.get("IFLA_LINK_NETNSID"),
        rate=limits.get(message["index"]),
        forwards=bool(settings.get("forwarding")),
    )


def rates(kernel: Netlink) -> dict[int, int]:
    """Read the token buckets: {number of the link: bytes per second}."""
    found = {}
    for message in kernel.dump(netlink.RTM_GETQDISC):
        facts = attributes(message)
        if facts["TCA_KIND"] == "tbf":
            found[message["index"]] = attributes(facts["TCA_OPTIONS"])["TCA_TBF_PARMS"]["rate"]
    return found


def routes(kernel: Netlink) -> tuple[Route, ...]:
    """Read the main routing table."""
    names = {
        message["index"]: attributes(message)["IFLA_IFNAME"]
        for message in kernel.dump(netlink.RTM_GETLINK)
    }
    found = []
    for message in kernel.dump(netlink.RTM_GETROUTE, family=int(socket.AF_INET)):
        facts = attributes(message)
        if message["table"] == RT_TABLE_MAIN and message["type"] == RTN_UNICAST:
            to = f"{facts['RTA_DST']}/{message['dst_len']}" if message["dst_len"] else "default"
            found.append(
                Route(to, facts.get("RTA_GATEWAY"), names.get(facts.get("RTA_OIF", 0), ""))
            )
    return tuple(found)


def neighbours(kernel: Netlink) -> dict[str, str]:
    """Read the ARP table: {address: hardware address}."""
    found = {}
    for message in kernel.dump(netlink.RTM_GETNEIGH, family=int(socket.AF_INET)):
        facts = attributes(message)
        if "NDA_LLADDR" in facts and not message["state"] & (NUD_NOARP | NUD_FAILED):
            found[facts["NDA_DST"]] = facts["NDA_LLADDR"]
    return found


def received_bytes(kernel: Netlink, index: int) -> int:
    """Read how many bytes have come in through a link since it was made."""
    message = kernel.get(netlink.RTM_GETLINK, index=index)
    return int(attributes(message)["IFLA_STATS64"]["rx_bytes"])


def namespace_number(kernel: Netlink, pid: int) -> int | None:
    """Return the number by which a namespace calls that of process `pid`; None: it never has."""
    message = kernel.get(netlink.RTM_GETNSID, {"NETNSA_PID": pid}, rtgen_family=0)
    number = int(attributes(message).get("NETNSA_NSID", -1))
    return None if number < 0 else number
