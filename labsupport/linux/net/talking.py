"""Fetch a page over a socket that belongs to some sandbox's network."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from labsupport.errors import NoAnswer

QUESTION = b"GET / HTTP/1.0\r\n\r\n"
PATIENCE_SECONDS = 0.01


def fetch(make: Callable[[], socket.socket], address: str, port: int, timeout: float) -> str:
    """Connect, ask, return the page. A server that starts is waited for: it refuses at first.

    Raises:
        NoAnswer: none came within `timeout` seconds.

    """
    until = time.monotonic() + timeout
    while True:
        try:
            with make() as connection:
                connection.settimeout(max(0.01, until - time.monotonic()))
                connection.connect((address, port))
                connection.sendall(QUESTION)
                return _page(connection)
        except ConnectionRefusedError as error:
            if time.monotonic() > until:
                raise _no_answer(address, port, error) from error
            time.sleep(PATIENCE_SECONDS)
        except OSError as error:
            raise _no_answer(address, port, error) from error


def _page(connection: socket.socket) -> str:
    words = b""
    while part := connection.recv(4096):
        words += part
    return words.decode(errors="replace").partition("\r\n\r\n")[2].strip()


def _no_answer(address: str, port: int, error: OSError) -> NoAnswer:
    why = error.strerror or "nothing came back in time"
    return NoAnswer(f"no answer from {address}:{port}", why)
