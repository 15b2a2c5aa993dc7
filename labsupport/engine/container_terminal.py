"""A program in a container on a terminal of its own, as `docker exec -it` starts it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker.models.containers import Container


class ContainerTerminal:
    """A running `exec` with a terminal; the same face as `linux.pseudoterminal.PseudoTerminal`.

    Raises:
        docker.errors.APIError: the container does not run; the engine says so.

    """

    def __init__(self, container: Container, argv: Sequence[str], rows: int, columns: int) -> None:
        self._api: Any = container.client.api  # type: ignore[union-attr]
        made = self._api.exec_create(
            container.id, list(argv), stdin=True, tty=True, environment={"TERM": "xterm-256color"}
        )
        self._id = made["Id"]
        answer: Any = self._api.exec_start(self._id, tty=True, socket=True)
        self._answer = answer  # it closes the connection when it is collected
        self._socket: socket.socket = getattr(answer, "_sock", answer)
        self._socket.setblocking(False)
        self.resize(rows, columns)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """Return what there is to read; empty once the program has ended."""
        return self._socket.recv(1 << 16)

    def write(self, data: bytes) -> None:
        """Type."""
        self._socket.sendall(data)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program how large its terminal is."""
        self._api.exec_resize(self._id, height=rows, width=columns)

    def close(self) -> None:
        """Close the connection; the engine then hangs up."""
        self._socket.close()
        self._answer.close()
