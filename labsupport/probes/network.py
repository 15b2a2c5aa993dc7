"""Can links be made and packets be filtered? Tried in a network namespace that ends with the child.

Links are asked for by a raw rtnetlink(7) message, so that neither iproute2 nor a library is needed.
"""

from __future__ import annotations

import os
import socket
import struct

from labsupport.linux import syscalls as sc
from labsupport.probes import facts
from labsupport.probes.children import Refused, step
from labsupport.probes.namespaces import enter

MAKE_VETH = "making a veth pair"

# linux/rtnetlink.h, linux/if_link.h, linux/veth.h
RTM_NEWLINK, NLMSG_ERROR = 16, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 3, 18, 1, 2, 1
_IFINFOMSG = bytes(16)


def _attribute(kind: int, *parts: bytes) -> bytes:
    payload = b"".join(parts)
    padding = bytes(-len(payload) % 4)
    return struct.pack("HH", 4 + len(payload), kind) + payload + padding


def _make_veth(name: bytes, peer: bytes) -> None:
    link = _attribute(
        IFLA_LINKINFO,
        _attribute(IFLA_INFO_KIND, b"veth"),
        _attribute(
            IFLA_INFO_DATA,
            _attribute(VETH_INFO_PEER, _IFINFOMSG, _attribute(IFLA_IFNAME, peer + b"\0")),
        ),
    )
    body = _IFINFOMSG + _attribute(IFLA_IFNAME, name + b"\0") + link
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    header = struct.pack("IHHII", 16 + len(body), RTM_NEWLINK, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(header + body)
        answer = kernel.recv(4096)
    kind, errno = struct.unpack_from("H", answer, 4)[0], struct.unpack_from("i", answer, 16)[0]
    if kind == NLMSG_ERROR and errno:
        raise OSError(-errno, os.strerror(-errno))


def admin() -> str:
    """A pair of veth links in a network namespace of our own."""
    enter(sc.CLONE_NEWNET, "making a network namespace")
    with step(MAKE_VETH):
        _make_veth(b"probe-a", b"probe-b")
    found = {name for _, name in socket.if_nameindex()}
    if not {"probe-a", "probe-b"} <= found:
        raise Refused(f"a veth pair was made, but only {sorted(found)} is there")
    return "veth pair made"


def nftables() -> str:
    """A table added by nft(8) in a network namespace of our own."""
    import subprocess

    nft = facts.find_program("nft")
    if nft is None:
        install = facts.gather().install("nftables", "nft")
        raise Refused("the program nft is not installed", install)
    enter(sc.CLONE_NEWNET, "making a network namespace")
    added = subprocess.run(
        [nft, "add table inet probe; list tables"], capture_output=True, text=True, check=False
    )
    if added.returncode or "table inet probe" not in added.stdout:
        said = added.stderr.partition("\n")[0] or "nothing, and the table is not there"
        raise Refused(
            f"nft cannot add a table: {said}", "a kernel with CONFIG_NF_TABLES and _NF_TABLES_INET"
        )
    return "table added by nft"


PROBES = {"net.admin": admin, "nftables": nftables}
