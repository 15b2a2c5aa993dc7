"""Frames, windows and credit on the line, without a guest. Well under a second."""

import socket
from contextlib import suppress

import pytest

from labsupport.vm import mux
from labsupport.vm.mux import Channel, Connection, Line, Mux


@pytest.fixture
def ends():
    """Both ends of a line."""
    host, guest = socket.socketpair()
    with host, guest:
        yield host, guest


def test_a_frame_may_be_larger_than_64_kilobytes(ends):
    """As the environment of somebody who has many variables."""
    sender, receiver = Line(ends[0].fileno()), Line(ends[1].fileno())
    sender.send(mux.SETUP, 0, b"x" * 100_000)
    found = []
    while not found:
        found += receiver.receive()
    assert found == [(mux.SETUP, 0, b"x" * 100_000)]


class Pair:
    """Two loops on one line, with a connection between a socket at each end."""

    def __init__(self, host, guest):
        self.loops = [
            Mux(Line(host.fileno(), window=mux.LINE_WINDOW)),
            Mux(Line(guest.fileno(), acknowledge=1024)),
        ]
        self.outer = []
        for loop in self.loops:
            outer, inner = socket.socketpair()
            outer.setblocking(False)
            inner.setblocking(False)
            connection = Connection(loop, 5)
            fd = inner.detach()
            connection.read_from(fd)
            connection.write_to(fd)
            self.outer.append(outer)

    def turn(self):
        for loop in self.loops:
            loop.turn(0)


def test_a_reader_that_stops_stops_its_writer_and_no_other(ends):
    pair = Pair(*ends)
    sent = 0
    for _ in range(3000):
        with suppress(BlockingIOError):
            sent += pair.outer[0].send(bytes(8192))
        pair.turn()
    assert sent < 4 * mux.WINDOW + (1 << 20)  # the window, and what sockets hold
    pair.outer[1].send(b"the other direction")
    for _ in range(10):
        pair.turn()
    assert pair.outer[0].recv(100) == b"the other direction"


def test_a_frame_for_a_channel_that_is_gone_is_harmless(ends):
    loop = Mux(Line(ends[0].fileno()))
    Channel(loop, 1).close()
    Line(ends[1].fileno()).send(mux.DATA, 1, b"late")
    loop.turn(1)
    assert loop.channels == {}
