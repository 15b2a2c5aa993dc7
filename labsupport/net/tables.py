"""What else the kernel keeps for each network: the rules of its packet filter, and who listens."""

import errno
import re
import shutil
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labsupport.kernel.netlink import HEADER, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from labsupport.sandbox.sandbox import Sandbox

NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 4, 12
SOCK_DIAG_BY_FAMILY, TCP_LISTEN = 20, 10  # linux/sock_diag.h, net/tcp_states.h
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE = 10, 1  # linux/netfilter/nfnetlink.h, nf_tables.h
HOOK = re.compile(r"type \w+ hook (\w+)")
NOT_RULES = ("table", "chain", "type", "policy", "}")
NOT_THERE = {errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP}


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
            while True:
                data = kernel.recv(1 << 16)
                while data:
                    length, told, *_ = HEADER.unpack_from(data)
                    if told in (NLMSG_DONE, NLMSG_ERROR):
                        return
                    yield data[HEADER.size : length]
                    data = data[(length + 3) & ~3 :]
    except OSError as error:
        if error.errno not in NOT_THERE:  # a kernel without it
            raise
