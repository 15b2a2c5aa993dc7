"""Filters, maps and real downloads between sandboxes."""

import asyncio

import pytest

from labsupport import Sandbox, namespaces
from labsupport.errors import NoAnswer
from labsupport.net.network_map import End, network
from labsupport.net.servers import web_server
from labsupport.net.traffic import MEGABYTE, START, Bandwidth, Reading, Recording, download
from labsupport.sandbox.net import Rule, rules

pytestmark = [pytest.mark.anyio, pytest.mark.needs("net.admin")]
FILTER = """
table inet test {
    chain way_in {
        type filter hook input priority 0; policy accept;
        tcp dport 80 drop
    }
    chain own {
        ip saddr 10.0.0.9 accept
    }
}
"""


@pytest.fixture
def big(pair):
    """What downloads take: a client, the address of a large file, and its server."""
    client, server = pair
    pages = web_server("hello", at="10.0.0.2:80")
    pages.add_file("big", 1 << 40)
    server.start(pages.argv)
    client.net.ask("10.0.0.2")
    yield client, "http://10.0.0.2/big", server
    pages.close()


@pytest.mark.needs("nftables")
def test_rules_are_read_with_the_hook_of_their_chain_or_else_its_name():
    with Sandbox(new={"net"}) as box:
        box.run(["nft", "-f", "-"], input=FILTER)
        assert rules(box) == (
            Rule("input", "tcp dport 80 drop"), Rule("own", "ip saddr 10.0.0.9 accept"),
        )  # fmt: skip


def test_the_map_matches_the_ends_of_each_cable():
    with Sandbox(new={"net"}) as hub, Sandbox(new={"net"}) as one, Sandbox(new={"net"}) as two:
        hub.net.add_bridge("br0", "10.0.0.254/24")
        hub.net.plug("br0", one, "10.0.0.1/24", port="p1")
        hub.net.plug("br0", two, "10.0.0.2/24", port="p2", gateway="10.0.0.254")
        hub.net.connect(hub, "x", "y")
        found = network({"hub": hub, "one": one, "two": two})
    assert {frozenset(cable) for cable in found.cables} == {
        frozenset({End("hub", "p1"), End("one", "eth0")}),
        frozenset({End("hub", "p2"), End("two", "eth0")}),
        frozenset({End("hub", "x"), End("hub", "y")}),
    }
    assert found.host_inode == namespaces()["net"]
    assert str(found["two"].routes[0]) == "default via 10.0.0.254"


def test_the_map_tells_who_listens_where(pair):
    left, right = pair
    pages = web_server("hello", at="10.0.0.2:80")
    right.start(pages.argv)
    page = left.net.ask("10.0.0.2")
    found = network({"left": left, "right": right}, {"right": page})
    assert (found["left"].listens, found["left"].page) == ((), "")
    assert (found["right"].listens, found["right"].page) == (("10.0.0.2:80",), "hello")
    assert network({"left": left}).cables == ()  # it leads to somebody who is not asked about


def test_a_download_that_ends_is_told(big):
    client, _, server = big
    with pytest.raises(NoAnswer, match="404"):
        download(client, "http://10.0.0.2/nothing", server, seconds=2)


def test_a_curve_is_the_mean_of_the_window_before():
    steady = Recording(tuple(Reading(n / 10, n * 100_000) for n in range(20)))
    assert [rate for _, rate in steady.curve()] == pytest.approx([1e6] * 19)
    assert steady.bytes_per_second() == pytest.approx(1e6)


@pytest.fixture
def console(big):
    return Bandwidth(*big)


def rate(console):
    return console.sender.net.link("eth0").rate


async def test_its_slider_sets_the_rate_and_its_button_starts_another_download(console):
    running = asyncio.create_task(console.run(seconds=60))
    while not console.recording.readings:
        await asyncio.sleep(0.05)
    assert console.button.disabled
    assert rate(console) == START * MEGABYTE
    console.slider.value = 4.0
    assert rate(console) == 4 * MEGABYTE
    while console.recording.readings[-1].received_bytes < MEGABYTE:
        await asyncio.sleep(0.05)
    console.picture.stopping = True
    await running
    assert not console.button.disabled
    console.slider.value = 3.0
    console.button.click()
    await asyncio.sleep(0)
    assert console.button.disabled
    while {each.limit_bytes_per_second for each in console.recording.readings} != {3e6}:
        await asyncio.sleep(0.05)
    console.picture.stopping = True
    again = await console._again
    assert {reading.limit_bytes_per_second for reading in again.readings} == {3 * MEGABYTE}


async def test_it_begins_with_the_same_rate_when_it_is_run_again_and_says_what_is_wrong(console):
    await console.run(seconds=0.5)
    console.slider.value = 3.0
    await console.run(seconds=0.3)
    assert rate(console) == START * MEGABYTE == console.slider.value * MEGABYTE
    console.receiver.close()
    console.button.click()
    await console._again
    assert "not open" in console.picture.status
