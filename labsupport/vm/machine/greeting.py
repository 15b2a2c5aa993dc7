"""Has the SSH server greeted? Asked without waiting, so that a live view goes on meanwhile."""

from __future__ import annotations

import select
import socket
import time

_AGAIN_SECONDS = 0.4
_PATIENCE_SECONDS = 4.0  # QEMU takes the connection at once, whether or not the machine answers


class Greeting:
    """Listens at a port of our loopback for `SSH-2.0-…`, see RFC 4253, 4.2."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._next_try = self._give_up = 0.0

    def heard(self) -> bool:
        """Tell whether it has greeted; ask again later if not."""
        if self._socket is None:
            if time.monotonic() < self._next_try:
                return False
            self._socket = socket.create_connection(("127.0.0.1", self._port), 5)
            self._give_up = time.monotonic() + _PATIENCE_SECONDS
        if not select.select([self._socket], [], [], 0)[0]:
            if time.monotonic() > self._give_up:
                self._close()
            return False
        try:
            words = self._socket.recv(4)
        except ConnectionError:
            words = b""
        self._close()
        return words == b"SSH-"

    def _close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket, self._next_try = None, time.monotonic() + _AGAIN_SECONDS
