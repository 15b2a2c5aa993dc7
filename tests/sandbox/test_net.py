"""Networks of sandboxes: what the kernel says of links, addresses, routes and rates."""

import os
import shlex
import socket
import subprocess
from contextlib import ExitStack

import pytest

from labsupport import Sandbox, namespaces
from labsupport.errors import LabError, NetworkRefused, NoAnswer
from tests.waiting import wait_until


@pytest.fixture
def boxes():
    """Return what opens sandboxes that have a network; they are closed afterwards."""
    with ExitStack() as ends:
        yield lambda count: [ends.enter_context(Sandbox(new={"net"})) for _ in range(count)]


def inside(box, *argv):
    return box.run(argv).stdout


def test_a_socket_belongs_to_the_sandboxs_network(boxes):
    [box] = boxes(1)
    box.net.set_up("lo")
    with box.open_socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 4711))
        listener.listen()
        assert ":4711" in inside(box, "ss", "-ltn")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 4711))
    with pytest.raises(OSError, match=r"Address family not supported|Errno 97"):
        box.open_socket(45, socket.SOCK_STREAM)
    box.close()
    with pytest.raises(LabError, match="not open"):
        box.open_socket(socket.AF_INET, socket.SOCK_STREAM)


def test_a_cable_ends_with_a_sandbox_and_is_never_on_the_host(boxes):
    name = f"cable{os.getpid()}"
    left, right = boxes(2)
    left.net.connect(right, name, name)
    assert name not in dict(socket.if_nameindex()).values()
    right.close()
    # the kernel takes networks down in the background
    wait_until(lambda: name not in [link.name for link in left.net.links()])
    assert name not in dict(socket.if_nameindex()).values()


def test_the_steps_are_lines_for_a_terminal_which_work(pair):
    """As root of the same user namespace; an ordinary user's nsenter takes theirs, too."""
    left, _ = pair
    assert any("ip address replace 10.0.0.1/24 dev eth0" in step.shell for step in left.shell())
    line = next(step.shell for step in left.shell() if "link set" in step.shell)
    argv = shlex.split(line.replace("eth0 up", "eth0 down"))
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    assert not left.net.link("eth0").up


def test_two_sandboxes_can_be_wired_by_hand(boxes):
    """An ordinary user's, too: they share a user namespace."""
    left, right = boxes(2)
    line = f"ip link add eth0 type veth peer name eth0 netns {right.pid}"
    assert left.run(line).returncode == 0
    assert right.net.link("eth0").kind == "veth"
    left.net.connect(right)  # it is there already
    assert namespaces(left.holder_pid)["user"] == namespaces(right.holder_pid)["user"]


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda net: net.set_up("eth1", "10.0.0.9/24"), LabError, "eth0, lo"),
        (lambda net: net.set_up("eth0", "10.0.0.9"), LabError, "10.0.0.2/24"),
        (lambda net: net.set_up("eth0", "10.0.0.300/24"), LabError, "300"),
        (lambda net: net.set_up("eth0", gateway="9.9.9.9"), NetworkRefused, "ip route replace"),
        (lambda net: net.set_up("eth0", gateway="10.0.0.2/24"), NetworkRefused, "valid address"),
        (lambda net: net.connect(net.box, "eth0", "x"), NetworkRefused, "File exists"),
        (lambda net: net.plug("br0", net.box, port="x"), LabError, "eth0, lo"),
        (lambda net: net.connect(net.box), LabError, "ip link add"),
        (lambda net: net.ask("7.7.7.7"), NoAnswer, "unreachable"),
        (lambda net: net.ask("10.0.0.2", 81), NoAnswer, "refused"),
    ],
)
def test_what_is_wrong_is_told(pair, act, error, words):
    with pytest.raises(error, match=words):
        act(pair[0].net)


def test_a_sandbox_that_shares_our_network_is_refused():
    with Sandbox(new={"uts"}) as box, pytest.raises(LabError, match=r'new=\{"net"\}'):
        box.net.set_up("lo")
