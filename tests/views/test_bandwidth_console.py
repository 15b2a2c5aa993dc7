"""The bandwidth slider: it sets the kernel's rate while there is a download, and only then."""

import asyncio

import pytest

from labsupport import Sandbox, probe
from labsupport.servers import web_server
from labsupport.views.bandwidth import MEGABYTE
from labsupport.views.bandwidth_console import START, Bandwidth


@pytest.fixture
def console():
    if refusal := probe().why_not("net.admin"):
        pytest.skip(f"needs net.admin: {refusal.reason}")
    with Sandbox(new={"net"}) as client, Sandbox(new={"net"}) as server:
        client.net.connect(server)
        client.net.set_up("eth0", "10.0.0.1/24")
        server.net.set_up("eth0", "10.0.0.2/24")
        pages = web_server("x", at="10.0.0.2:80")
        pages.add_file("big", 1 << 40)
        server.start(pages.argv)
        assert client.net.ask("10.0.0.2") == "x"
        yield Bandwidth(client, "http://10.0.0.2/big", sender=server)


def rate(console):
    return console.sender.net.link("eth0").rate


def test_it_sets_the_rate_while_the_cell_runs_and_is_hidden_before_and_after(console):
    assert console.slider.layout.visibility == "hidden"

    async def use():
        running = asyncio.create_task(console.run(seconds=2))
        await asyncio.sleep(0.7)
        assert console.slider.layout.visibility == "visible"
        assert rate(console) == START * MEGABYTE
        console.slider.value = 4.0
        assert rate(console) == 4 * MEGABYTE
        return await running

    recording = asyncio.run(use())
    assert recording.readings[-1].received_bytes > MEGABYTE
    assert console.slider.layout.visibility == "hidden"
    console.slider.value = 6.0
    assert rate(console) == 4 * MEGABYTE


def test_it_begins_with_the_same_rate_when_it_is_run_again(console):
    asyncio.run(console.run(seconds=0.5))
    console.slider.value = 6.0
    asyncio.run(console.run(seconds=0.5))
    assert rate(console) == START * MEGABYTE == console.slider.value * MEGABYTE
