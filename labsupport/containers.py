"""A container of the engine that is here, for as long as an experiment needs it."""

from __future__ import annotations

from labsupport.engine.client import Engine
from labsupport.engine.held import HeldContainer
from labsupport.linux.namespaces import read_links

READ_LINKS = "for link in /proc/self/ns/*; do readlink $link; done"


class Container(HeldContainer):
    """A container of the course's base image that brings its own connection to the engine.

    `namespaces` is {kind: inode number} as a process inside reads them, wherever that is.

    Raises:
        EngineMissing, EngineDown, EngineRefused: see `Engine.connect`.

    """

    def __init__(self) -> None:
        super().__init__(Engine.connect())
        self.name = str(self.container.short_id)

    def _look(self) -> None:
        self.namespaces = read_links(self.exec(["sh", "-c", READ_LINKS]))

    def close(self) -> None:
        """End it, and the connection."""
        super().close()
        self.engine.close()

    def __repr__(self) -> str:
        return f"<container {self.name} of {self.engine.kind}: PID {self.pid}>"
