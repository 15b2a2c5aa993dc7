"""The bridge of an engine of our own: made before it starts, removed with all that it plugged in.

An engine would take Docker's usual `docker0`, which may be the machine's own. Ours has a name, a
range of addresses and a note of its owner: the link's alias, which ip(8) shows. Only what has
such an alias is ever removed, and the engine's networks: by its database, and should that be gone
by its range, to which no route led when it began. Packet filters and address translation are left
alone, so these networks end at this machine.
"""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from labsupport.errors import NetworkRefused
from labsupport.ownership import marks

LINKS = Path("/sys/class/net")
RANGES = tuple(IPv4Network("10.128.0.0/10").subnets(new_prefix=16))
"""One for each engine of ours."""
_OF_NETWORK = re.compile(r"br-[0-9a-f]{12}")


@dataclass(frozen=True)
class Bridge:
    """A bridge that is ours, and the range that it and the engine's other networks may use."""

    name: str
    range: IPv4Network

    @property
    def address(self) -> str:
        """The bridge's own address, with its network's size."""
        return f"{self.range[1]}/24"

    @property
    def networks(self) -> IPv4Network:
        """The half of the range from which networks that users make are taken."""
        return list(self.range.subnets(prefixlen_diff=1))[1]


POSSIBLE = tuple(Bridge(f"labengine{number}", range_) for number, range_ in enumerate(RANGES))


def make() -> Bridge:
    """Make a bridge that belongs to this process, in a range that no route leads to.

    Raises `NetworkRefused`: the kernel said no; the message has its words.
    """
    for leftover in find():
        leftover.remove()
    routes = _routes()
    for bridge in POSSIBLE:
        if any(bridge.range.overlaps(route) for route in routes) or (LINKS / bridge.name).exists():
            continue
        try:
            _ip("link", "add", bridge.name, "type", "bridge")
        except NetworkRefused as error:
            if "File exists" in error.why:  # another engine was faster
                continue
            raise
        _ip("link", "set", bridge.name, "alias", marks.prefix("engine"), "up")
        _ip("address", "add", bridge.address, "dev", bridge.name)
        return bridge
    raise NetworkRefused("no range of addresses is left", f"{RANGES[0]} to {RANGES[-1]}")


def remove(name: str) -> None:
    """Remove a bridge and the cables that are plugged into it, as far as they are still there."""
    for link in [*_ports(name), name]:
        with contextlib.suppress(NetworkRefused):  # it went with its network namespace
            _ip("link", "delete", link)


def remove_all(bridge: Bridge, data_root: str = "") -> None:
    """Remove the bridges of an engine's networks, and last its own, which tells whose they are."""
    try:
        found = set(made_by_engine(Path(data_root)) if data_root else ())
        for link in json.loads(_ip("-json", "-4", "address", "show", "type", "bridge")):
            if _OF_NETWORK.fullmatch(link.get("ifname", "")) and any(
                IPv4Address(each["local"]) in bridge.networks for each in link["addr_info"]
            ):
                found.add(link["ifname"])
        for name in found:
            remove(name)
    finally:
        remove(bridge.name)


def made_by_engine(data_root: Path) -> list[str]:
    """Find the bridges of the networks in an engine's database."""
    # the name of such a one is `br-` and the first 12 hexadecimal digits of the network's number
    database = data_root / "network/files/local-kv.db"
    if not database.exists():
        return []
    known = database.read_bytes()
    links = [link.name for link in LINKS.iterdir() if _OF_NETWORK.fullmatch(link.name)]
    return [name for name in links if name.removeprefix("br-").encode() in known]


def find() -> Iterator[marks.Leftover]:
    """Find the bridges whose owner has ended without removing them; their networks' go along."""
    for bridge in POSSIBLE:
        with contextlib.suppress(FileNotFoundError):  # another notebook may be sweeping, too
            owner = marks.OWNED_NAME.match((LINKS / bridge.name / "ifalias").read_text())
            if owner and not marks.is_alive(":".join(owner.groups())):
                yield marks.Leftover(f"bridge {bridge.name}", partial(remove_all, bridge))


def _ports(bridge: str) -> list[str]:
    folder = LINKS / bridge / "brif"
    return os.listdir(folder) if folder.is_dir() else []


def _routes() -> list[IPv4Network]:
    """Read where this machine's routes lead, except those as wide as "everything at work"."""
    # /proc/net/route has addresses as hexadecimal numbers in the processor's order of bytes
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        size = mask.bit_count()
        if size >= RANGES[0].prefixlen:
            found.append(IPv4Network((address, size), strict=False))
    return found


def _ip(*words: str) -> str:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NetworkRefused(
            f"ip {' '.join(words)}", "no program `ip`", "sudo apt-get install iproute2"
        ) from error
    if done.returncode:
        raise NetworkRefused(f"ip {' '.join(words)}", done.stderr.strip())
    return done.stdout
