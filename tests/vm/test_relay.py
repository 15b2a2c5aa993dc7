"""Who may connect to a kernel's ports on the host. No guest; about 1 s."""

import os
import socket
import subprocess
import sys
from itertools import count
from types import SimpleNamespace

import pytest

from labsupport.vm.mux import Line, Mux
from labsupport.vm.relay import PORTS, Relay

CONNECT = """
import socket, sys
it = socket.socket()
it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
it.bind((sys.argv[2], int(sys.argv[3])))
it.connect(("127.0.0.1", int(sys.argv[1])))
input()
"""


@pytest.fixture
def relayed():
    """A guest of which there is only the loop, and the port of its first endpoint."""
    near, far = socket.socketpair()
    connection = dict.fromkeys(PORTS, 0) | {"transport": "tcp", "ip": "127.0.0.1", "key": "k"}
    with near, far:
        guest = SimpleNamespace(mux=Mux(Line(near.fileno())), number=count(1).__next__)
        listening = Relay(connection)
        listening.serve(guest)
        yield guest, listening._listeners[0][0].getsockname()[1]
        guest.mux.close()
        listening.close()


@pytest.mark.parametrize(("uid", "joined"), [(None, 1), (65534, 0)])
def test_only_the_kernels_own_user_is_let_in(relayed, uid, joined):
    """Another one would connect until the launcher has no descriptor left."""
    if uid and os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    guest, port = relayed
    command = [sys.executable, "-c", CONNECT, str(port), "127.0.0.1", "0"]
    with subprocess.Popen(command, user=uid, stdin=subprocess.PIPE) as client:
        guest.mux.turn(20)
        assert len(guest.mux.channels) == joined
        client.kill()


def test_nobody_is_let_in_by_the_port_of_one_of_ours(relayed):
    """The loopback has millions of addresses, and each of them has that port."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    guest, port = relayed
    with socket.create_connection(("127.0.0.1", port)) as ours:
        guest.mux.turn(20)
        number = str(ours.getsockname()[1])
        command = [sys.executable, "-c", CONNECT, str(port), "127.0.0.2", number]
        with subprocess.Popen(command, user=65534, stdin=subprocess.PIPE) as client:
            guest.mux.turn(20)
            assert len(guest.mux.channels) == 1
            client.kill()


def test_who_has_gone_already_is_not_let_in(relayed):
    guest, port = relayed
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    guest.mux.turn(5)
    assert not guest.mux.channels
