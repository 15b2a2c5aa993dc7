"""The network map and the bandwidth picture: what they say of given data."""

import pytest

from labsupport.linux.net.firewall import Rule
from labsupport.linux.net.netmap import End, Network, Snapshot
from labsupport.linux.net.netstate import Link, Route
from labsupport.linux.net.transfer import Reading, Recording
from labsupport.views import bandwidth, style
from labsupport.views import network as view
from labsupport.views.netlayout import arrange
from labsupport.views.painter import Painter

LO = Link(1, "lo", "loopback", up=False, carrier=True, mac="00:00:00:00:00:00")


def eth(address, name="eth0", index=2, **more):
    facts = {"up": True, "carrier": True, "mac": "02:00:00:00:00:01", "addresses": (address,)}
    return Link(index, name, "veth", **{**facts, **more})


def port(name, index):
    return Link(index, name, "veth", up=True, carrier=True, mac="02:00", master="br0")


def snapshot(networks, cables=()):
    return Snapshot(tuple(networks), tuple(cables), 4026531840, ("lo", "wlan0"))


@pytest.fixture
def pairs():
    """Return two servers with one address, each on a cable of its own."""
    networks = []
    for number, name in enumerate(("orange", "green")):
        networks.append(Network(f"client {name}", 10 + number, (LO, eth("10.0.0.1/24"))))
        networks.append(Network(name, 20 + number, (LO, eth("10.0.0.2/24"))))
    cables = [(End(f"client {name}", "eth0"), End(name, "eth0")) for name in ("orange", "green")]
    return snapshot(networks, cables)


@pytest.fixture
def bridged():
    """Return the same two servers on one bridge."""
    bridge = Link(2, "br0", "bridge", up=True, carrier=True, mac="02:01")
    networks = [
        Network("switch", 1, (LO, bridge, port("p1", 3), port("p2", 4))),
        Network("orange", 2, (LO, eth("10.0.0.2/24"))),
        Network("green", 3, (LO, eth("10.0.0.2/24"))),
    ]
    cables = [
        (End("switch", "p1"), End("orange", "eth0")),
        (End("switch", "p2"), End("green", "eth0")),
    ]
    return snapshot(networks, cables)


def drawn_words(data, **options):
    figure = style.new_figure(9.2, 9.2 * view.needed_height(data) / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    view.draw_network(axes, data, **options)
    figure.canvas.draw()
    return axes, [text.get_text() for text in axes.texts]


def test_the_same_address_is_no_conflict_on_separate_networks(pairs):
    assert "separate networks: no conflict" in view.finding(pairs)


def test_the_same_address_on_one_bridge_is_a_conflict(bridged):
    assert view.finding(bridged) == "10.0.0.2 twice on one network: a conflict"


def test_networks_without_a_cable_are_alone():
    data = snapshot([Network("a", 1, (LO,)), Network("b", 2, (LO,))])
    assert view.finding(data) == "2 networks, and no cable: each is alone"


def test_a_rule_and_a_published_port_are_the_finding():
    rule, dnat = Rule("input", "tcp dport 80 drop"), "tcp dport 8080 dnat to 10.0.0.2:80"
    alone = snapshot([Network("a", 1, (LO,), rules=(rule,)), Network("b", 2, (LO,))])
    assert view.finding(alone) == "A firewall in one network only: a"
    published = snapshot([Network("a", 1, (LO,), rules=(Rule("prerouting", dnat),))])
    assert view.finding(published) == "Ports of a: 8080 leads to 10.0.0.2:80"


def test_all_that_is_known_is_in_the_picture_and_in_its_words():
    link = eth("10.0.0.2/24", rate=1_000_000)
    data = snapshot(
        [
            Network(
                "web", 77, (LO, link), (Route("default", "10.0.0.1", "eth0"),),
                (Rule("input", "tcp dport 80 drop"),),
            )
        ]
    )  # fmt: skip
    _, texts = drawn_words(data)
    for said in ("web", "lo    off", "eth0  10.0.0.2/24", "≤ 1 MB/s out", "→ default: 10.0.0.1",
                 "✕ tcp dport 80 drop"):  # fmt: skip
        assert said in texts
        assert said.strip() in view.words(data)
    assert ("web", "firewall rule", "input: tcp dport 80 drop") in view.table(data)


def test_a_cable_is_broken_unless_both_ends_are_on(pairs):
    axes, _ = drawn_words(pairs)
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-"]
    off = eth("10.0.0.2/24", up=False, carrier=False)
    networks = [pairs["client orange"], Network("orange", 20, (LO, off))]
    axes, texts = drawn_words(snapshot(networks, pairs.cables[:1]))
    assert [line.get_linestyle() for line in axes.lines] == ["--"]
    assert "eth0  10.0.0.2/24  off" in texts


def test_boxes_do_not_overlap_and_stay_on_the_page(bridged, pairs):
    for data in (bridged, pairs):
        places, height = arrange(data)
        assert len(places) == len(data.networks)
        for place in places:
            assert place.left >= 0
            assert place.left + place.width <= 100
            assert place.top + place.height < height
            for other in places:
                apart = (
                    place is other
                    or place.left >= other.left + other.width
                    or other.left >= place.left + place.width
                    or place.top >= other.top + other.height
                    or other.top >= place.top + place.height
                )
                assert apart, (place.network.label, other.network.label)


def test_nothing_that_is_written_leaves_its_box():
    long = Rule("prerouting", "ip saddr 192.168.100.200 tcp dport 8080 dnat to 172.17.0.200:8080")
    networks = [Network(name, 1, (LO, eth("10.100.200.222/24")), rules=(long,)) for name in "abc"]
    data = snapshot(
        networks, [(End("a", "eth0"), End("b", "eth0")), (End("b", "lo"), End("c", "lo"))]
    )
    axes, _ = drawn_words(data)
    places, _ = arrange(data)
    for text in axes.texts[2:]:
        left, top = text.get_position()
        end = text.get_window_extent().transformed(axes.transData.inverted()).x1
        inside = [p for p in places if p.left <= left < p.left + p.width and
                  p.top - 0.1 <= top <= p.top + p.height]  # fmt: skip
        assert inside
        assert end <= inside[0].left + inside[0].width, text.get_text()


def test_what_is_shared_is_grey_and_the_others_keep_their_order(pairs):
    chosen = view.colours(pairs, frozenset({"client orange", "client green"}))
    assert chosen == {
        "client orange": style.SHARED, "orange": style.FIRST,
        "client green": style.SHARED, "green": style.SECOND,
    }  # fmt: skip


def steady(rate, limit):
    return Recording(tuple(Reading(n / 10, round(n * rate / 10), limit) for n in range(30)))


def test_measured_and_limit_stand_side_by_side():
    recordings = {1e6: steady(0.96e6, 1e6), 2e6: steady(1.9e6, 2e6)}
    figure = style.new_figure(9.2, 4.2)
    axes = figure.add_axes((0.08, 0.14, 0.77, 0.72))
    bandwidth.draw_bandwidth(axes, recordings)
    texts = [text.get_text() for text in axes.texts]
    assert {"limit 1 MB/s", "measured 0.96", "limit 2 MB/s", "measured 1.90"} <= set(texts)
    assert "at most 5% beside it" in bandwidth.finding(recordings)
    assert bandwidth.table(recordings)[1] == ("1", "0.96", "96%")


def test_the_live_picture_changes_with_its_data():
    painter = Painter(
        style.new_figure(9.2, 3.8), bandwidth.draw_live_background, bandwidth.draw_live_tile
    )
    first = painter.paint(bandwidth.live_scene(Recording(steady(1e6, 1e6).readings[:5]), 8))
    second = painter.paint(bandwidth.live_scene(steady(1e6, 1e6), 8))
    assert first != second == painter.paint(bandwidth.live_scene(steady(1e6, 1e6), 8))
    assert bandwidth.now(steady(1e6, 2e6)) == "Limit 2 MB/s, received 1.0 MB/s."
