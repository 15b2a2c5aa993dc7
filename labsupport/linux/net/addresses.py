"""IPv4 addresses as people write them, and what to say when they are none."""

from __future__ import annotations

import ipaddress

from labsupport.errors import BadAddress


def with_prefix(text: str) -> ipaddress.IPv4Interface:
    """Read an address and the length of its network's prefix: `10.0.0.2/24`.

    Raises:
        BadAddress: it is none; a length must be given, for without it there is no network.

    """
    try:
        if "/" not in text:
            raise ValueError("it has no prefix length, so nobody is on its network")
        return ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise BadAddress(text, str(error), "10.0.0.2/24") from error


def network(text: str) -> ipaddress.IPv4Network:
    """Read where a route leads: `default`, a network `10.0.1.0/24` or one address.

    Raises:
        BadAddress: it is none of these.

    """
    try:
        return ipaddress.IPv4Network("0.0.0.0/0" if text == "default" else text)
    except ValueError as error:
        raise BadAddress(text, str(error), "default, 10.0.1.0/24 or 10.0.1.2") from error


def alone(text: str) -> str:
    """Read an address without a prefix: `10.0.0.1`.

    Raises:
        BadAddress: it is none.

    """
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise BadAddress(text, str(error), "10.0.0.1") from error
