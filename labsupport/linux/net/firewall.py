"""The packet filter of a network namespace, as nft(8) lists it."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labsupport.linux.sandbox import Sandbox

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE = 10, 1  # linux/netfilter/nfnetlink.h, nf_tables.h
NLM_F_REQUEST, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR = 1, 0x300, 3, 2
_HOOK = re.compile(r"type \w+ hook (\w+)")
_NO_RULES = ("table", "chain", "type", "policy", "}")
NO_NFTABLES = {errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP}


@dataclass(frozen=True)
class Rule:
    """A rule: the moment of a packet's way at which it is asked, and what it says."""

    hook: str
    text: str

    def __str__(self) -> str:
        return f"{self.hook}: {self.text}"


def rules(box: Sandbox) -> tuple[Rule, ...]:
    """Read the rules of a sandbox's own packet filter, in order."""
    # nft is a slow starter, and most networks have no rule
    if not _has_tables(box) or shutil.which("nft") is None:
        return ()
    return parse(box.run(["nft", "list", "ruleset"]).stdout)


def parse(listing: str) -> tuple[Rule, ...]:
    """Read what `nft list ruleset` prints."""
    found, hook = [], ""
    for line in map(str.strip, listing.splitlines()):
        if match := _HOOK.match(line):
            hook = match[1]
        elif line.startswith("chain"):
            hook = line.split()[1]
        elif line and not line.startswith(_NO_RULES):
            found.append(Rule(hook, line))
    return tuple(found)


def _has_tables(box: Sandbox) -> bool:
    """Ask nf_tables itself whether there is any table."""
    header = struct.pack("IHHII", 20, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
                         NLM_F_REQUEST | NLM_F_DUMP, 1, 0)  # fmt: skip
    try:
        with box.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
            kernel.sendto(header + bytes(4), (0, 0))
            answer = kernel.recv(1 << 16)
    except OSError as error:
        if error.errno in NO_NFTABLES:  # a kernel without packet filters
            return False
        raise
    kind = struct.unpack_from("H", answer, 4)[0]
    return kind not in (NLMSG_DONE, NLMSG_ERROR)
