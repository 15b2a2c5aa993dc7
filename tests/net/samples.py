"""Pictures of this room, from plain data."""

from labsupport.kernel.netlink import Link, Route
from labsupport.net import network_map, traffic
from labsupport.net.network_map import End, Network, Snapshot
from labsupport.net.traffic import Reading, Recording
from labsupport.sandbox.net import Rule

LO = Link(1, "lo", "loopback", up=False, carrier=True, mac="00:00:00:00:00:00")
BRIDGE = Link(2, "br0", "bridge", up=True, carrier=True, mac="02:01")
DROP = Rule("input", "tcp dport 80 drop")
LONG = Rule("prerouting", "ip saddr 192.168.100.200 tcp dport 8080 dnat to 172.17.0.200:8080")


def eth(address, name="eth0", index=2, **more):
    facts = {"up": True, "carrier": True, "mac": "02:00:00:00:00:01", "addresses": (address,)}
    return Link(index, name, "veth", **{**facts, **more})


def port(name, index):
    return Link(index, name, "veth", up=True, carrier=True, mac="02:00", master="br0")


def snapshot(networks, cables=()):
    return Snapshot(tuple(networks), tuple(cables), 4026531840, ("lo", "wlan0"))


def pair(name, number):
    """A client and a server, with the same addresses as every other pair."""
    yield Network(f"client {name}", 10 + number, (LO, eth("10.0.0.1/24")))
    served = ("10.0.0.2:80",)
    yield Network(name, 20 + number, (LO, eth("10.0.0.2/24")), listens=served, page=f"I am {name}")


PAIRS = snapshot(
    [*pair("orange", 0), *pair("green", 1)],
    [(End(f"client {name}", "eth0"), End(name, "eth0")) for name in ("orange", "green")],
)
BRIDGED = snapshot(
    [
        Network("switch", 1, (LO, BRIDGE, port("p1", 3), port("p2", 4))),
        Network("orange", 2, (LO, eth("10.0.0.2/24"))),
        Network("green", 3, (LO, eth("10.0.0.2/24"))),
    ],
    [(End("switch", "p1"), End("orange", "eth0")), (End("switch", "p2"), End("green", "eth0"))],
)
FULL = snapshot(
    [
        Network(
            "web",
            77,
            (LO, eth("10.0.0.2/24", rate=1_000_000)),
            (Route("default", "10.0.0.1", "eth0"),),
            (DROP,),
        )
    ]
)
WORDY = snapshot(
    [Network(name, 1, (LO, eth("10.100.200.222/24")), rules=(LONG,)) for name in "abc"],
    [(End("a", "eth0"), End("b", "eth0")), (End("b", "lo"), End("c", "lo"))],
)


def steady(rate, limit):
    return Recording(tuple(Reading(n / 10, round(n * rate / 10), limit) for n in range(30)))


DOWNLOADS = {1e6: steady(0.96e6, 1e6), 2e6: steady(1.9e6, 2e6)}


def of(data):
    return network_map.page(data), network_map.words(data), network_map.table(data)


PAGES = {
    "pairs": lambda: of(PAIRS),
    "bridged": lambda: of(BRIDGED),
    "full": lambda: of(FULL),
    "wordy": lambda: of(WORDY),
    "bandwidth": lambda: (
        traffic.page(DOWNLOADS),
        traffic.words(DOWNLOADS),
        traffic.table(DOWNLOADS),
    ),
}
