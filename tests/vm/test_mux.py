"""Frames, windows and credit on the line, without a guest. Well under a second."""

import socket
from contextlib import suppress

import pytest

from labsupport.vm import mux
from labsupport.vm.mux import Channel, Connection, Line, LineClosed, Mux


@pytest.fixture
def ends():
    """Both ends of a line."""
    host, guest = socket.socketpair()
    with host, guest:
        yield host, guest


def test_frames_arrive_as_they_were_sent_however_they_are_cut(ends):
    sender, receiver = Line(ends[0].fileno()), Line(ends[1].fileno())
    sender.send(mux.DATA, 7, b"hello")
    sender.send(mux.END, 8)
    raw = ends[1].recv(1000)
    found = []
    for byte in raw:
        ends[0].send(bytes([byte]))
        found += receiver.receive()
    assert found == [(mux.DATA, 7, b"hello"), (mux.END, 8, b"")]


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


def test_no_more_than_the_window_is_under_way(ends):
    host = Line(ends[0].fileno(), window=mux.LINE_WINDOW)
    guest = Line(ends[1].fileno(), acknowledge=1024)
    host.send(mux.DATA, 1, b"x" * 20_000)
    assert len(ends[1].recv(1 << 16, socket.MSG_PEEK)) == mux.LINE_WINDOW
    received = b""
    while len(received) < 20_000:
        for _kind, _channel, payload in guest.receive():
            received += payload
        if len(received) < 20_000:
            list(host.receive())
        assert len(ends[1].recv(1 << 16, socket.MSG_PEEK) if host._out else b"") <= mux.LINE_WINDOW
    assert received == b"x" * 20_000


def test_the_end_of_the_line_is_told(ends):
    line = Line(ends[0].fileno())
    ends[1].close()
    with pytest.raises(LineClosed):
        list(line.receive())
    with pytest.raises(LineClosed):
        line.send(mux.OFF)


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


@pytest.mark.parametrize("side", [0, 1])
def test_a_connection_ends_at_both_sides(ends, side):
    pair = Pair(*ends)
    pair.outer[side].send(b"last words")
    pair.outer[side].close()
    for _ in range(10):
        pair.turn()
    assert pair.outer[1 - side].recv(100) == b"last words"
    assert pair.outer[1 - side].recv(100) == b""
    assert [loop.channels for loop in pair.loops] == [{}, {}]


def test_a_frame_for_a_channel_that_is_gone_is_harmless(ends):
    loop = Mux(Line(ends[0].fileno()))
    Channel(loop, 1).close()
    Line(ends[1].fileno()).send(mux.DATA, 1, b"late")
    loop.turn(1)
    assert loop.channels == {}
