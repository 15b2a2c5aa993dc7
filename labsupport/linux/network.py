"""A sandbox's network: links, addresses, routes, rates; made and read over rtnetlink(7).

The words are those of ip(8), bridge(8) and tc(8), and `box.shell()` shows the line for a terminal
beside each message that was sent. IPv4 only, which is what the lecture is about.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from labsupport import trace
from labsupport.errors import AddressInUse, NetworkRefused, NoAnswer, NoNetwork, UnknownLink
from labsupport.linux import recipes
from labsupport.linux.net import addresses, netlink, netstate, shaping, talking
from labsupport.linux.net.netlink import NLM_F_CREATE, NLM_F_EXCL, Netlink
from labsupport.linux.net.netrefusals import network_refused
from labsupport.linux.net.netstate import IFF_UP, RT_TABLE_MAIN, RTN_UNICAST
from labsupport.linux.procfs import namespaces

if TYPE_CHECKING:
    from labsupport.linux.sandbox import Sandbox

RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 3, 0, 253  # linux/rtnetlink.h
NEW = NLM_F_CREATE | NLM_F_EXCL


class Net:
    """The network of a sandbox; `box.net` is one.

    Raises:
        NoNetwork: the sandbox shares this machine's network.

    """

    def __init__(self, box: Sandbox) -> None:
        if "net" not in box.new or _network_of(box.holder_pid) == _network_of("self"):
            raise NoNetwork
        self.box = box
        self.kernel = Netlink(box.open_socket(socket.AF_NETLINK, socket.SOCK_RAW))

    def close(self) -> None:
        """Give the socket back: a network namespace lives on while there is a socket of it."""
        self.kernel.channel.close()

    def links(self) -> tuple[netstate.Link, ...]:
        """Read all links, in the order of their making."""
        return netstate.links(self.kernel)

    def link(self, name: str) -> netstate.Link:
        """Read the link of that name.

        Raises:
            UnknownLink: there is none; the message lists those that are.

        """
        found = {each.name: each for each in self.links()}
        if name not in found:
            raise UnknownLink(name, found)
        return found[name]

    def routes(self) -> tuple[netstate.Route, ...]:
        """Read the main routing table."""
        return netstate.routes(self.kernel)

    def neighbours(self) -> dict[str, str]:
        """Read who is known to have which address: {address: hardware address}; the ARP table."""
        return netstate.neighbours(self.kernel)

    def up(self, name: str) -> None:
        """Switch a link on."""
        self._switch(name, IFF_UP, "up")

    def down(self, name: str) -> None:
        """Switch a link off; its routes go with it, its addresses stay."""
        self._switch(name, 0, "down")

    def connect(self, other: Sandbox, name: str = "eth0", peer: str = "eth0") -> None:
        """Lay a cable to another sandbox: a veth pair, an end here and an end there, both down."""
        target = other.net.box.holder_pid  # of one without a network: NoNetwork
        there = {"attrs": [("IFLA_IFNAME", peer), ("IFLA_NET_NS_PID", target)]}
        data = {"attrs": [("VETH_INFO_PEER", {"index": 0, **there})]}
        line = f"ip link add {name} type veth peer name {peer} netns {target}"
        self._make_link(f"Lay a cable: {name} here, {peer} there", line, name, "veth", data)

    def add_bridge(self, name: str = "br0", address: str | None = None) -> None:
        """Make a bridge, a switch in the kernel, and switch it on."""
        self._make_link(
            f"Make the bridge {name}", f"ip link add {name} type bridge", name, "bridge"
        )
        self.set_up(name, address)

    def plug(
        self, bridge: str, box: Sandbox, address: str | None = None, *,
        port: str, name: str = "eth0", gateway: str | None = None,
    ) -> None:  # fmt: skip
        """Lay a cable from `port` of a bridge here to a sandbox, and set its end up there."""
        master = self.link(bridge).index
        self.connect(box, port, name)
        self._change(
            f"Plug {port} into {bridge}", f"ip link set {port} master {bridge}",
            netlink.RTM_NEWLINK, attrs={"IFLA_MASTER": master}, index=self.link(port).index,
        )  # fmt: skip
        self.up(port)
        box.net.set_up(name, address, gateway=gateway)

    def set_up(self, name: str, address: str | None = None, *, gateway: str | None = None) -> None:
        """Give a link its address, switch it on, and send what goes elsewhere to the gateway."""
        if address is not None:
            self.add_address(name, address)
        self.up(name)
        if gateway is not None:
            self.add_route("default", via=gateway)

    def remove_link(self, name: str) -> None:
        """Remove a link; the other end of a cable goes with it."""
        index = self.link(name).index
        line = f"ip link delete {name}"
        self._change(f"Remove {name}", line, netlink.RTM_DELLINK, index=index)

    def add_address(self, name: str, address: str) -> None:
        """Give a link an address, such as "10.0.0.2/24".

        Raises:
            AddressInUse: the link has it already.

        """
        self._address("Give", "add", netlink.RTM_NEWADDR, NEW, name, address)

    def remove_address(self, name: str, address: str) -> None:
        """Take an address from a link."""
        self._address("Take", "delete", netlink.RTM_DELADDR, 0, name, address)

    def add_route(self, to: str, *, via: str | None = None, link: str | None = None) -> None:
        """Send what goes to a network ("default": everywhere else) via a gateway, or out of a link.

        Raises:
            NetworkRefused: the kernel does not know how to reach the gateway, for example.

        """
        self._route("Add", "add", netlink.RTM_NEWROUTE, NEW, to, via, link)

    def remove_route(self, to: str, *, via: str | None = None, link: str | None = None) -> None:
        """Remove a route."""
        self._route("Remove", "delete", netlink.RTM_DELROUTE, 0, to, via, link)

    def shape(self, name: str, bytes_per_second: float) -> None:
        """Let no more than that leave through a link: a token bucket; tc-tbf(8)."""
        index = self.link(name).index
        order = shaping.token_bucket(index, bytes_per_second)
        line = shaping.command(name, bytes_per_second)
        self._change(f"Shape what leaves through {name}", line, netlink.RTM_NEWQDISC, **order)

    def unshape(self, name: str) -> None:
        """Remove the token bucket."""
        order: dict[str, Any] = {"parent": shaping.TC_H_ROOT, "index": self.link(name).index}
        line = f"tc qdisc delete dev {name} root"
        self._change(f"Let {name} send freely again", line, netlink.RTM_DELQDISC, **order)

    def forward(self, on: bool = True) -> None:
        """Be a router, or not: pass on packets that are for somebody else, by sysctl(8)."""
        line = ["sysctl", "-q", "-w", f"net.ipv4.ip_forward={int(on)}"]
        done = self.box.run(line)
        if done.returncode:
            raise NetworkRefused(f"not done: {trace.command(line)}", done.stderr.strip())

    def ask(self, address: str, port: int = 80, timeout: float = 2) -> str:
        """Fetch the page at an address and port, from in here.

        Raises:
            NoAnswer: none came within `timeout` seconds; `why` says what the kernel said.

        """
        make = partial(self.box.open_socket, socket.AF_INET, socket.SOCK_STREAM)
        return talking.fetch(make, addresses.alone(address), port, timeout)

    def attempt(self, address: str, port: int = 80, timeout: float = 1) -> str:
        """Return the page at an address and port, or else why there is none."""
        try:
            return self.ask(address, port, timeout)
        except NoAnswer as no:
            return no.why

    def announce(self, address: str, name: str = "eth0") -> None:
        """Tell everybody on the network that an address is here, unasked; arping(8)."""
        once = ["-c", "1", "-w", "1", "-I", name]
        argv = ["busybox", "arping", "-A", *once, addresses.alone(address)]
        self.box.run(argv)

    def _switch(self, name: str, flag: int, word: str) -> None:
        index = self.link(name).index
        header: dict[str, Any] = {"index": index, "flags": flag, "change": IFF_UP}
        what = f"Switch {name} {'on' if flag else 'off'}"
        self._change(what, f"ip link set {name} {word}", netlink.RTM_NEWLINK, **header)

    def _make_link(
        self, what: str, line: str, name: str, kind: str, data: dict[str, Any] | None = None
    ) -> None:
        info: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)]
        if data is not None:
            info.append(("IFLA_INFO_DATA", data))
        attrs = {"IFLA_IFNAME": name, "IFLA_LINKINFO": {"attrs": info}}
        self._change(what, line, netlink.RTM_NEWLINK, NEW, attrs)

    def _address(
        self, verb: str, word: str, kind: int, flags: int, name: str, address: str
    ) -> None:
        given = addresses.with_prefix(address)
        index = self.link(name).index
        attrs = {"IFA_LOCAL": str(given.ip), "IFA_ADDRESS": str(given.ip)}
        if kind == netlink.RTM_NEWADDR and given.network.prefixlen < 31:
            attrs["IFA_BROADCAST"] = str(given.network.broadcast_address)
        header = {"family": socket.AF_INET, "prefixlen": given.network.prefixlen, "index": index}
        line = f"ip address {word} {given} dev {name}"
        preposition = "to" if word == "add" else "from"
        what = f"{verb} {given} {preposition} {name}"
        self._change(what, line, kind, flags, attrs, **header)

    def _route(
        self, verb: str, word: str, kind: int, flags: int,
        to: str, via: str | None, link: str | None,
    ) -> None:  # fmt: skip
        where = addresses.network(to)
        attrs: dict[str, Any] = {"RTA_TABLE": RT_TABLE_MAIN}
        line = ["ip", "route", word, to]
        if where.prefixlen:
            attrs["RTA_DST"] = str(where.network_address)
        if via is not None:
            attrs["RTA_GATEWAY"] = addresses.alone(via)
            line += ["via", via]
        if link is not None:
            attrs["RTA_OIF"] = self.link(link).index
            line += ["dev", link]
        header = {
            "family": int(socket.AF_INET), "dst_len": where.prefixlen, "table": RT_TABLE_MAIN,
            "proto": RTPROT_BOOT, "type": RTN_UNICAST,
            "scope": RT_SCOPE_UNIVERSE if via or word == "delete" else RT_SCOPE_LINK,
        }  # fmt: skip
        self._change(f"{verb} a route to {to}", trace.command(line), kind, flags, attrs, **header)

    def _change(
        self, what: str, line: str, kind: int, how: int = 0,
        attrs: dict[str, Any] | None = None, **header: Any,
    ) -> None:  # fmt: skip
        try:
            sent = self.kernel.change(kind, how, attrs, **header)
        except FileExistsError as error:
            raise AddressInUse(
                f"not done: {line}", str(error.strerror), "it is there already"
            ) from error
        except OSError as error:
            raise network_refused(line, error) from error
        self.box.record(trace.Step(what, self._in_here(line.split()), (sent,)))

    def _in_here(self, argv: Sequence[str]) -> str:
        entered = self.box.new - {"pid", "mount"}
        return trace.command(recipes.nsenter(entered, self.box.holder_pid, argv))


def _network_of(pid: int | str) -> int | None:
    return namespaces(pid).get("net")
