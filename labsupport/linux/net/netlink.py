"""Talk to the kernel about one network: an rtnetlink(7) socket of that network namespace.

pyroute2 writes and reads the messages. Its own sockets are not used: they want an event loop of
their own, where Jupyter's is running; and ours are made in a sandbox and handed over.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any

from pyroute2.netlink.rtnl import RTM_VALUES
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_GETNEIGH = 30
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_GETNSID = 90

ANSWER_BYTES = 1 << 18
HEADER = struct.Struct("IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
_MESSAGES = MarshalRtnl.msg_map


class Netlink:
    """A conversation with the kernel about the network namespace that `channel` is of."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        channel.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)  # refusals come with a reason
        channel.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._numbers = itertools.count(1)

    def change(
        self, kind: int, how: int = 0, attrs: Mapping[str, Any] | None = None, **header: Any
    ) -> str:
        """Have something made, changed or removed; return what was sent, in words.

        `how` are NLM_F_ flags, `header` the fields of the message's fixed part.

        Raises:
            OSError: the kernel refused; the text is its own explanation if it gave one.

        """
        self._ask(kind, NLM_F_REQUEST | NLM_F_ACK | how, attrs, header)
        said = {**header, **(attrs or {})}
        return f"{RTM_VALUES[kind]} {{{', '.join(f'{name}={said[name]!r}' for name in said)}}}"

    def get(self, kind: int, attrs: Mapping[str, Any] | None = None, **header: Any) -> Any:
        """Return the one message that answers a question.

        Raises:
            OSError: there is no such thing.

        """
        return self._ask(kind, NLM_F_REQUEST, attrs, header)[0]

    def dump(self, kind: int, **header: Any) -> list[Any]:
        """Return all there is of a kind: links, addresses, routes."""
        return self._ask(kind, NLM_F_REQUEST | NLM_F_DUMP, None, header)

    def _ask(
        self, kind: int, flags: int, attrs: Mapping[str, Any] | None, header: Mapping[str, Any]
    ) -> list[Any]:
        message = _MESSAGES[kind]()
        message.update(header)
        message["attrs"] = list((attrs or {}).items())
        message["header"] = {
            "type": kind, "flags": flags, "sequence_number": next(self._numbers), "pid": 0,
        }  # fmt: skip
        message.encode()
        # With a destination, the kernel asks who sends and not who made the socket: an ordinary
        # user owns the user namespaces of all their sandboxes, a sandbox only its own
        self.channel.sendto(bytes(message.data), (0, 0))
        return self._answers(ends_at_first=not flags & (NLM_F_ACK | NLM_F_DUMP))

    def _answers(self, ends_at_first: bool) -> list[Any]:
        found: list[Any] = []
        while not (found and ends_at_first):
            data = self.channel.recv(ANSWER_BYTES)
            at = 0
            while at < len(data):
                length, kind, flags, _, _ = HEADER.unpack_from(data, at)
                part = data[at : at + length]
                at += (length + 3) & ~3
                if kind == NLMSG_ERROR:
                    _raise_refusal(part, flags)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    return found
                found.append(_read(kind, part))
        return found


def _read(kind: int, data: bytes) -> Any:
    message = _MESSAGES[kind](data)
    message.decode()
    return message


def _raise_refusal(data: bytes, flags: int) -> None:
    """Raise what an error message tells; number 0 is an acknowledgement."""
    (number,) = struct.unpack_from("i", data, HEADER.size)
    if number == 0:
        return
    at = HEADER.size + 4 + HEADER.size  # after the number comes the refused message's header
    words = os.strerror(-number)
    while flags & NLM_F_ACK_TLVS and flags & NLM_F_CAPPED and at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        if kind == NLMSGERR_ATTR_MSG:
            words += f" ({data[at + 4 : at + length].rstrip(bytes(1)).decode()})"
        at += (length + 3) & ~3
    raise OSError(-number, words)


def attributes(message: Any) -> dict[str, Any]:
    """Return a message's attributes by name."""
    return {pair[0]: pair[1] for pair in message.get("attrs", ())}
