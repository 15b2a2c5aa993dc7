"""A sandbox's network: what the kernel says of it, and the few words that several lines need.

It is changed by ip(8) and tc(8), as in a terminal; `box.shell()` shows each line. What is in it is
read over rtnetlink(7). IPv4 only, which is what the lecture is about.
"""

from __future__ import annotations

import errno
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from labsupport import trace
from labsupport.errors import LabError, NetworkRefused, NoAnswer, nearest
from labsupport.kernel import netlink
from labsupport.kernel.netlink import HEADER, NLM_F_DUMP, NLM_F_REQUEST, Netlink
from labsupport.kernel.procfs import namespaces
from labsupport.sandbox import launch

if TYPE_CHECKING:
    from labsupport.sandbox.sandbox import Sandbox

BURST_SECONDS = 0.1  # a kernel that is itself a process, as the Lab VM, may pause as long
LEAST_BURST_BYTES = 16_384
LEAST_SECONDS = 0.1  # for one try: a refusal is not cut off because it comes at the end
PATIENCE_SECONDS = 1.5  # a link that has just been switched on may lose an ARP: 1 s; arp(7)
QUEUE_MILLISECONDS = 300  # how long a packet may wait before it is thrown away


class Net:
    """The network of a sandbox; `box.net` is one. What makes something may be called twice.

    Raises `LabError`: the sandbox shares this machine's network.
    """

    def __init__(self, box: Sandbox) -> None:
        if "net" not in box.new or _network_of(box.holder_pid) == _network_of("self"):
            why = "it shares this machine's, which experiments must not change"
            remedy = 'make it with Sandbox(new={"net"})'
            raise LabError("this sandbox has no network of its own", why, remedy)
        self.box = box
        self.kernel = Netlink(box.open_socket(socket.AF_NETLINK, socket.SOCK_RAW))

    def close(self) -> None:
        """Give the socket back: a network namespace lives on while there is a socket of it."""
        self.kernel.channel.close()

    def links(self) -> tuple[netlink.Link, ...]:
        """Read all links, in the order of their making."""
        return netlink.links(self.kernel)

    def link(self, name: str) -> netlink.Link:
        """Read the link of that name. Raises `LabError`."""
        found = {each.name: each for each in self.links()}
        if name not in found:
            raise LabError(f"there is no link {name!r} in this network", nearest(name, found))
        return found[name]

    def routes(self) -> tuple[netlink.Route, ...]:
        """Read the main routing table."""
        return netlink.routes(self.kernel)

    def neighbours(self) -> dict[str, str]:
        """Read the ARP table, who is known to have which address: {address: hardware address}."""
        return netlink.neighbours(self.kernel)

    def connect(self, other: Sandbox, name: str = "eth0", peer: str = "eth0") -> None:
        """Lay a cable to another sandbox: a veth pair, an end here and an end there, both down."""
        there = other.net.box.holder_pid  # of one without a network: LabError
        if not self._is_cable(name, other, peer):
            self._do(f"ip link add {name} type veth peer name {peer} netns {there}")

    def _is_cable(self, name: str, other: Sandbox, peer: str) -> bool:
        """Whether that very cable is there already."""
        for link in self.links():
            if link.name == name and link.peer_index is not None:
                number = netlink.namespace_number(self.kernel, other.holder_pid)
                ends = (end.name for end in other.net.links() if end.index == link.peer_index)
                return link.peer_namespace == number and next(ends, "") == peer
        return False

    def add_bridge(self, name: str = "br0", address: str | None = None) -> None:
        """Make a bridge, a switch in the kernel, and switch it on."""
        if (name, "bridge") not in [(link.name, link.kind) for link in self.links()]:
            self._do(f"ip link add {name} type bridge")
        self.set_up(name, address)

    def plug(
        self, bridge: str, box: Sandbox, address: str | None = None, *,
        port: str, gateway: str | None = None,
    ) -> None:  # fmt: skip
        """Lay a cable from `port` of a bridge here to a sandbox, and set its end up there."""
        self.link(bridge)  # or it is told which links there are
        self.connect(box, port)
        self._do(f"ip link set {port} master {bridge} up")
        box.net.set_up("eth0", address, gateway=gateway)

    def set_up(self, name: str, address: str | None = None, *, gateway: str | None = None) -> None:
        """Give a link its address, switch it on, and send what goes elsewhere to the gateway."""
        self.link(name)
        given = address and f"ip address replace {netlink.with_prefix(address)} dev {name}"
        way_out = gateway and f"ip route replace default via {gateway}"
        self._do(*filter(None, [given, f"ip link set {name} up", way_out]))

    def shape(self, name: str, bytes_per_second: float) -> None:
        """Let no more than that leave through a link: a token bucket; tc-tbf(8).

        Tokens (bytes) drip into it at the rate, and a packet waits until there are enough for it.
        The bucket's size is the burst: what may leave at once after a pause.
        """
        self.link(name)
        burst = max(LEAST_BURST_BYTES, round(bytes_per_second * BURST_SECONDS))
        rate = f"rate {round(bytes_per_second * 8)}bit burst {burst}"
        self._do(f"tc qdisc replace dev {name} root tbf {rate} latency {QUEUE_MILLISECONDS}ms")

    def forward(self, on: bool = True) -> None:
        """Be a router, or not: pass on packets that are for somebody else, by sysctl(8)."""
        self._do(f"sysctl -q -w net.ipv4.ip_forward={int(on)}")

    def ask(self, address: str, port: int = 80, timeout: float = 2) -> str:
        """Fetch the page at an address and port, from in here.

        A server that starts is waited for: it refuses at first. Raises `NoAnswer`: none came within
        `timeout` seconds; `why` says what the kernel said.
        """
        until, place = time.monotonic() + timeout, (address, port)
        while True:
            try:
                with self.box.open_socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                    connection.settimeout(max(LEAST_SECONDS, until - time.monotonic()))
                    connection.connect(place)
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    words = b"".join(iter(partial(connection.recv, 4096), b""))
                return words.decode(errors="replace").partition("\r\n\r\n")[2].strip()
            except OSError as error:
                if not isinstance(error, ConnectionRefusedError) or time.monotonic() > until:
                    why = error.strerror or "nothing came back in time"
                    raise NoAnswer(f"no answer from {address}:{port}", why) from error
                time.sleep(0.01)

    def attempt(self, address: str, port: int = 80, timeout: float = PATIENCE_SECONDS) -> str:
        """Return the page at an address and port, or the reason why there is none."""
        try:
            return self.ask(address, port, timeout)
        except NoAnswer as no:
            return no.why

    def _do(self, *lines: str) -> None:
        """Run lines in this network, with our own files and programs; several only of ip(8).

        Raises `NetworkRefused`: with the words of the program, which are the kernel's.
        """
        entered = partial(launch.nsenter, self.box.new & {"net", "user"}, self.box.holder_pid)
        batch = "\n".join(line.removeprefix("ip ") for line in lines)
        argv = ["ip", "-batch", "-"] if len(lines) > 1 else lines[0].split()
        argv = entered(argv)
        done = subprocess.run(argv, input=batch, capture_output=True, text=True, check=False)
        if done.returncode:
            said, _, number = done.stderr.strip().partition("\nCommand failed -:")
            line = lines[int(number) - 1] if number else "; ".join(lines)
            remedies = (remedy for words, remedy in _REMEDIES.items() if words in said)
            raise NetworkRefused(f"not done: {line}", said, next(remedies, "see box.net.links()"))
        for line in lines:
            self.box.record(trace.Step(line, trace.command(entered(line.split()))))


_REMEDIES = {
    "Operation not permitted": "see with ./lab doctor whether net.admin is there",
    "Unknown device type": "this kernel lacks that kind of link (a module): ./lab doctor tells",
    "failed to execute": "sudo apt install iproute2 procps",
    "File exists": "a link of that name is there already: see box.net.links()",
}


def _network_of(pid: int | str) -> int | None:
    return namespaces(pid).get("net")


# What else the kernel keeps for each network: the rules of its packet filter, and who listens.


NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 4, 12
SOCK_DIAG_BY_FAMILY, TCP_LISTEN = 20, 10  # linux/sock_diag.h, net/tcp_states.h
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE = 10, 1  # linux/netfilter/nfnetlink.h, nf_tables.h
HOOK = re.compile(r"type \w+ hook (\w+)")
NOT_RULES = ("table", "chain", "type", "policy", "}")
# a kernel without it says so in four ways; EPERM: only root may ask for the tables of a filter
NOT_THERE = {errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT, errno.EPERM}


def listening(box: Sandbox) -> tuple[str, ...]:
    """Read where somebody listens in a sandbox's network: "10.0.0.2:80"; sock_diag(7)."""
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        asked = struct.pack("BBBxI48x", family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN)
        for told in _dump(box, NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, asked):
            address = told[8:12] if family == socket.AF_INET else told[8:24]
            host = socket.inet_ntop(family, address) if any(address) else "*"
            found.add(f"{host}:{struct.unpack_from('!H', told, 4)[0]}")
    return tuple(sorted(found))


@dataclass(frozen=True)
class Rule:
    """A rule: the moment of a packet's way at which it is asked, and what it says."""

    hook: str
    text: str

    def __str__(self) -> str:
        return f"{self.hook}: {self.text}"


def rules(box: Sandbox) -> tuple[Rule, ...]:
    """Read the rules of a sandbox's own packet filter, in order."""
    # nft starts slowly, and most networks have no rules
    tables = _dump(box, NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, bytes(4))
    if not any(tables) or shutil.which("nft") is None:
        return ()
    return parse(box.run(["nft", "list", "ruleset"]).stdout)


def parse(listing: str) -> tuple[Rule, ...]:
    """Read what `nft list ruleset` prints."""
    found, hook = [], ""
    for line in map(str.strip, listing.splitlines()):
        if match := HOOK.match(line):
            hook = match[1]
        elif line.startswith("chain"):
            hook = line.split()[1]
        elif line and not line.startswith(NOT_RULES):
            found.append(Rule(hook, line))
    return tuple(found)


def _dump(box: Sandbox, protocol: int, kind: int, asked: bytes) -> Iterator[bytes]:
    """Ask the kernel for all that it has of a kind in a network; yield each message's payload."""
    header = HEADER.pack(HEADER.size + len(asked), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    try:
        with box.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
            kernel.sendto(header + asked, (0, 0))
            for _, told in netlink.answers(kernel):
                yield told[HEADER.size :]
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise
