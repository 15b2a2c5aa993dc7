"""Many byte streams over the one serial line between host and guest; both ends run this file.

A frame is `kind, channel, length` and a payload. Two windows keep the line alive. Each channel may
have `WINDOW` unread bytes under way in each direction, so that a slow reader stops its own writer
and nobody else. And the host may have `LINE_WINDOW` unread bytes under way in all: a guest's tty
that has filled its 4,096 bytes throttles the line and is never woken again.

Only fast modules are imported: the guest's first process starts with this file.
"""

import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from selectors import EVENT_READ, EVENT_WRITE
from struct import Struct

# What a frame says. On channel 0 (the guest itself):
HELLO = 1  # guest: I am up; JSON
SETUP = 2  # host: shares and environment; JSON
READY = 3  # guest: set up
FAILED = 4  # guest: not set up, or a program not started; text
OFF = 5  # host: power off
READ = 6  # guest: this many bytes were read from the line
# On the others:
START = 10  # host: start a program; JSON
CONNECT = 11  # host: connect to this Unix socket as soon as it is there; path
OPENED = 12  # guest: connected, or started (with its process id)
DATA = 13  # bytes; a program's standard input and output
ERRORS = 14  # bytes; a program's standard error
END = 15  # no more bytes follow
CREDIT = 16  # this many bytes were passed on
RESIZE = 17  # host: the terminal's rows and columns
SIGNAL = 18  # host: send the program's process group this signal
EXIT = 19  # guest: the program's exit status, or minus the signal that ended it

WINDOW = 128 << 10
LINE_WINDOW = 3072
CHUNK = 16 << 10
LONGEST_FRAME = 16 << 20  # one that says more is nonsense
NUMBER = Struct(">i")
PAIR = Struct(">HH")
_HEADER = Struct(">BII")  # an environment alone may have a megabyte


class LineClosed(Exception):
    """The other end of the line has gone."""


class Line:
    """Frames over one file descriptor.

    `window` limits the unread bytes under way; `acknowledge` says after how many bytes the other
    side is told that they were read. The host uses the one, the guest the other.
    """

    def __init__(self, fd: int, *, window: int = 0, acknowledge: int = 0) -> None:
        self.fd, self.window, self.acknowledge = fd, window, acknowledge
        self._out = bytearray()
        self._in = bytearray()
        self._under_way = 0
        self._unacknowledged = 0

    def send(self, kind: int, channel: int = 0, payload: bytes = b"") -> None:
        """Queue one frame, and write as much as the window allows."""
        self._out += _HEADER.pack(kind, channel, len(payload))
        self._out += payload
        self.flush()

    def flush(self) -> None:
        """Write what is queued, as far as the window allows."""
        while self._out:
            size = len(self._out)
            if self.window:
                size = min(size, self.window - self._under_way)
            if size <= 0:
                return
            try:
                written = os.write(self.fd, memoryview(self._out)[:size])
            except OSError as error:
                raise LineClosed from error
            del self._out[:written]
            self._under_way += written

    def receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Read once, and yield the frames that are complete: kind, channel, payload."""
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError as error:
            raise LineClosed from error
        if not data:
            raise LineClosed
        self._in += data
        self._count(len(data))
        while len(self._in) >= _HEADER.size:
            kind, channel, length = _HEADER.unpack_from(self._in)
            end = _HEADER.size + length
            if length > LONGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._in) < end:
                return
            payload = bytes(self._in[_HEADER.size : end])
            del self._in[:end]
            if kind == READ:
                self._under_way -= NUMBER.unpack(payload)[0]
                self.flush()
            else:
                yield kind, channel, payload

    def _count(self, read: int) -> None:
        self._unacknowledged += read
        if self.acknowledge and self._unacknowledged >= self.acknowledge:
            self.send(READ, 0, NUMBER.pack(self._unacknowledged))
            self._unacknowledged = 0


class Mux:
    """The loop: one line, its channels, and whatever else is watched."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.channels: dict[int, Channel] = {}
        self._selector = selectors.PollSelector()  # unlike epoll, it takes plain files too
        self.watch(line.fd, lambda _events: self._receive())

    def watch(self, fd: int, callback: Callable[[int], object], events: int = EVENT_READ) -> None:
        """Call `callback(events)` whenever `fd` is ready; no events means no more."""
        known = self._selector.get_map().get(fd)
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Forget a file descriptor, before it is closed."""
        self.watch(fd, lambda _events: None, 0)

    def hear(self, signals: Iterable[int], heard: Callable[[int], object]) -> None:
        """Let these signals wake the loop, which tells their numbers to `heard`."""
        bell, ringer = socket.socketpair()
        for end in (bell, ringer):
            end.setblocking(False)
        signal.set_wakeup_fd(ringer.detach())
        for number in signals:
            signal.signal(number, lambda _number, _frame: None)
        self.watch(bell.fileno(), lambda _events: [*map(heard, bell.recv(64))])

    def turn(self, timeout: float | None = None) -> None:
        """Wait until something is ready, for `timeout` seconds at most, and deal with it."""
        for key, events in self._selector.select(timeout):
            if key.fd in self._selector.get_map():  # not forgotten by one before it
                key.data(events)

    def close(self) -> None:
        """Close every channel and the loop; the line is its owner's."""
        for channel in list(self.channels.values()):
            channel.close()
        self._selector.close()

    def _receive(self) -> None:
        for kind, number, payload in self.line.receive():
            channel = self.channels.get(number)
            if channel:
                channel.frame(kind, payload)
            else:
                self.unclaimed(kind, number, payload)

    def unclaimed(self, kind: int, number: int, payload: bytes) -> None:
        """Deal with a frame for the guest itself, for a new channel or for one just closed."""


class Channel:
    """One stream of bytes each way; at this end, file descriptors to read from and to write to."""

    def __init__(self, mux: Mux, number: int) -> None:
        self.mux, self.number = mux, number
        self.sources: dict[int, int] = {}
        self.sink: int | None = None
        self._pending = bytearray()
        self._input_ended = False
        self._credit = WINDOW
        self._uncredited = 0
        mux.channels[number] = self

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send one frame to the other end."""
        self.mux.line.send(kind, self.number, payload)

    def read_from(self, fd: int, kind: int = DATA) -> None:
        """Pass on what can be read from `fd`, as frames of this kind."""
        self.sources[fd] = kind
        self._watch(fd)

    def write_to(self, fd: int) -> None:
        """Write what arrives to `fd`; what has arrived already goes first."""
        self.sink = fd
        self._write()

    def frame(self, kind: int, payload: bytes) -> None:
        """Deal with a frame from the other end."""
        if kind in (DATA, ERRORS):
            self.received(kind, payload)
        elif kind == CREDIT:
            self._credit += NUMBER.unpack(payload)[0]
            for fd in list(self.sources):
                self._watch(fd)
        elif kind == END:
            self._input_ended = True
            self._write()

    def received(self, kind: int, payload: bytes) -> None:
        """Take bytes from the other end; here: write them to the sink."""
        self._pending += payload
        self._write()

    def passed_on(self, count: int) -> None:
        """Give the other end new credit, now and then, for bytes that are out of our hands."""
        self._uncredited += count
        if self._uncredited >= WINDOW // 4:
            self.send(CREDIT, NUMBER.pack(self._uncredited))
            self._uncredited = 0

    def source_ended(self, fd: int) -> None:
        """Note that nothing more can be read from `fd`, and tell the other end."""
        self.mux.unwatch(fd)
        self.send(END, bytes([self.sources.pop(fd)]))

    def sink_ended(self) -> None:
        """Note that nothing more will be written, or can be."""
        self.sink = None

    def close(self) -> None:
        """Forget this channel and close its file descriptors."""
        self.mux.channels.pop(self.number, None)
        fds = {*self.sources, *([] if self.sink is None else [self.sink])}
        self.sources.clear()
        self.sink = None
        for fd in fds:
            self.mux.unwatch(fd)
            os.close(fd)

    def read_some(self, fd: int) -> bool:
        """Pass on one piece from `fd`, as far as there is credit; tell whether there was any."""
        if not self._credit:
            return False
        try:
            data = os.read(fd, min(CHUNK, self._credit))
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose last user has gone, a connection reset
            data = b""
        if not data:
            self.source_ended(fd)
            return False
        self._credit -= len(data)
        self.send(self.sources[fd], data)
        return True

    def _write(self) -> None:
        if self.sink is None:
            return
        if self._pending:
            try:
                written = os.write(self.sink, self._pending)
            except BlockingIOError:
                written = 0
            except OSError:  # nobody reads any more
                self.passed_on(len(self._pending))
                self._pending.clear()
                self._let_go_of_sink()
                return
            del self._pending[:written]
            self.passed_on(written)
        if self._input_ended and not self._pending:
            self._let_go_of_sink()
        else:
            self._watch(self.sink)

    def _let_go_of_sink(self) -> None:
        if self.sink is not None and self.sink not in self.sources:
            self.mux.unwatch(self.sink)
        self.sink_ended()

    def _watch(self, fd: int) -> None:
        reading = EVENT_READ if fd in self.sources and self._credit else 0
        writing = EVENT_WRITE if fd == self.sink and self._pending else 0
        self.mux.watch(fd, lambda events: self._ready(fd, events), reading | writing)

    def _ready(self, fd: int, events: int) -> None:
        if events & EVENT_WRITE:
            self._write()
        if events & EVENT_READ and fd in self.sources:
            self.read_some(fd)
        if fd in self.sources and not self._credit:
            self._watch(fd)


class Connection(Channel):
    """A channel between two sockets; it ends with either of them."""

    def source_ended(self, fd: int) -> None:
        """Tell the other end, and close."""
        super().source_ended(fd)
        self.sink = fd
        self.close()

    def sink_ended(self) -> None:
        """Close: the other end has ended and all its bytes are written."""
        self.close()
