"""Ask the kernel about one network: by an rtnetlink(7) socket of that network namespace.

pyroute2 writes and reads the messages. Its own sockets are not used: they want an event loop of
their own, but Jupyter's is running; and ours are made in a sandbox and handed over.
"""

import ipaddress
import itertools
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from labsupport.errors import LabError

# linux/netlink.h
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
# linux/rtnetlink.h
RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH = 18, 22, 26, 30
RTM_GETQDISC, RTM_GETNSID = 38, 90

ANSWER_BYTES = 1 << 18
HEADER = struct.Struct("IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
_MESSAGES = MarshalRtnl.msg_map


class Netlink:
    """Questions to the kernel about the network namespace that `channel` is of."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._numbers = itertools.count(1)

    def get(self, kind: int, attrs: Mapping[str, Any] | None = None, **header: Any) -> Any:
        """Return the one message that answers a question. Raises `OSError`."""
        self._ask(kind, NLM_F_REQUEST, attrs, header)
        return next(self._messages())

    def dump(self, kind: int, **header: Any) -> list[Any]:
        """Return all there is of a kind: links, addresses, routes."""
        self._ask(kind, NLM_F_REQUEST | NLM_F_DUMP, None, header)
        return list(self._messages())

    def _ask(
        self, kind: int, flags: int, attrs: Mapping[str, Any] | None, header: Mapping[str, Any]
    ) -> None:
        message = _MESSAGES[kind]()
        message.update(header)
        message["attrs"] = list((attrs or {}).items())
        message["header"] = {
            "type": kind, "flags": flags, "sequence_number": next(self._numbers), "pid": 0,
        }  # fmt: skip
        message.encode()
        self.channel.send(bytes(message.data))

    def _messages(self) -> Iterator[Any]:
        for kind, raw in answers(self.channel):
            message = _MESSAGES[kind](raw)
            message.decode()
            yield message


def answers(channel: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield what the kernel answers, message by message: kind and bytes. Raises `OSError`."""
    while True:
        data = channel.recv(ANSWER_BYTES)
        while data:
            length, kind, _, _, _ = HEADER.unpack_from(data)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                (number,) = struct.unpack_from("i", data, HEADER.size)
                raise OSError(-number, os.strerror(-number))
            yield kind, data[:length]
            data = data[(length + 3) & ~3 :]


def attributes(message: Any) -> dict[str, Any]:
    """Return a message's attributes by name."""
    return {pair[0]: pair[1] for pair in message.get("attrs", ())}


def with_prefix(text: str) -> ipaddress.IPv4Interface:
    """Read an address and the length of its network's prefix: `10.0.0.2/24`. Raises `LabError`."""
    try:
        if "/" not in text:
            raise ValueError("it has no prefix length, so nobody is on its network")
        return ipaddress.IPv4Interface(text)
    except ValueError as error:
        what = f"{text!r} cannot be used here"
        raise LabError(what, str(error), "write it like 10.0.0.2/24") from error


# What is in a network namespace now, read over rtnetlink(7), as frozen dataclasses. IPv4 only.

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
    messages = kernel.dump(RTM_GETLINK)
    names = {message["index"]: attributes(message)["IFLA_IFNAME"] for message in messages}
    given: dict[int, list[str]] = {}
    for message in kernel.dump(RTM_GETADDR, family=int(socket.AF_INET)):
        text = f"{attributes(message)['IFA_LOCAL']}/{message['prefixlen']}"
        given.setdefault(message["index"], []).append(text)
    limits = {index: bucket.rate for index, bucket in buckets(kernel).items()}
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


@dataclass(frozen=True)
class Bucket:
    """A token bucket: its `rate` in bytes per second, and what it has counted.

    `passed_bytes` have left it, and were charged for: a packet that is still to be cut up is
    charged for the headers of all its pieces. `waiting_bytes` are in its queue now.
    """

    rate: int
    passed_bytes: int
    waiting_bytes: int


def buckets(kernel: Netlink) -> dict[int, Bucket]:
    """Read the token buckets, by the numbers of their links; tc-tbf(8)."""
    found = {}
    for message in kernel.dump(RTM_GETQDISC):
        facts = attributes(message)
        if facts["TCA_KIND"] == "tbf":
            rate = attributes(facts["TCA_OPTIONS"])["TCA_TBF_PARMS"]["rate"]
            counts = facts["TCA_STATS"]
            found[message["index"]] = Bucket(rate, counts["bytes"], counts["backlog"])
    return found


def routes(kernel: Netlink) -> tuple[Route, ...]:
    """Read the main routing table."""
    names = {
        message["index"]: attributes(message)["IFLA_IFNAME"] for message in kernel.dump(RTM_GETLINK)
    }
    found = []
    for message in kernel.dump(RTM_GETROUTE, family=int(socket.AF_INET)):
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
    for message in kernel.dump(RTM_GETNEIGH, family=int(socket.AF_INET)):
        facts = attributes(message)
        if "NDA_LLADDR" in facts and not message["state"] & (NUD_NOARP | NUD_FAILED):
            found[facts["NDA_DST"]] = facts["NDA_LLADDR"]
    return found


def free_port() -> int:
    """Return a port of our loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def received_bytes(kernel: Netlink, index: int) -> int:
    """Read how many bytes have come in through a link since it was made."""
    return int(attributes(kernel.get(RTM_GETLINK, index=index))["IFLA_STATS64"]["rx_bytes"])


def namespace_number(kernel: Netlink, pid: int) -> int | None:
    """Return the number by which a namespace calls that of process `pid`; None: it never has."""
    message = kernel.get(RTM_GETNSID, {"NETNSA_PID": pid}, rtgen_family=0)
    number = int(attributes(message).get("NETNSA_NSID", -1))
    return None if number < 0 else number
