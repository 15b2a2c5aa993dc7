"""Why did the kernel refuse to change a network? Errno in words, and what to do."""

from __future__ import annotations

import errno

from labsupport.errors import NetworkRefused

_REMEDIES = {
    errno.EPERM: "see with ./lab doctor whether net.admin is there; in the Lab VM you are root",
    errno.EOPNOTSUPP: "this kernel lacks that kind of link or queue (a module): ./lab doctor tells",
    errno.ENOENT: "there is no such kind of link or queue in this kernel, or nothing to remove",
    errno.ENETUNREACH: "first give a link an address in the gateway's network, and switch it on",
    errno.EHOSTUNREACH: "first give a link an address in the gateway's network, and switch it on",
    errno.ENETDOWN: "first switch the link on: box.net.up(…)",
    errno.EADDRNOTAVAIL: "see what addresses are there with box.net.links()",
    errno.ESRCH: "see what routes are there with box.net.routes()",
}


def network_refused(line: str, error: OSError) -> NetworkRefused:
    """Return the error to raise for a change, written as a line for a terminal."""
    remedy = _REMEDIES.get(error.errno or 0, "see what is there with box.net.links()")
    return NetworkRefused(f"not done: {line}", str(error.strerror), remedy)
