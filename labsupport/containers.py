"""A container of the engine that is here, for as long as an experiment needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from labsupport.engine.client import Engine
from labsupport.engine.labels import owner_labels
from labsupport.linux.namespaces import read_links

LONGEST = 3600  # seconds; then it ends by itself, and the engine removes it
READ_LINKS = "for link in /proc/self/ns/*; do readlink $link; done"


class Container:
    """The course's base image, running `sleep` in a container without a network.

    `namespaces` is {kind: inode number} as a process inside reads them; `pid` is the container's
    first process on the engine's machine.

    Raises:
        EngineMissing, EngineDown, EngineRefused: see `Engine.connect`.

    """

    def __init__(self) -> None:
        self.engine = Engine.connect()
        self._container: Any = self.engine.client.containers.run(
            self.engine.base_image(), ["sleep", str(LONGEST)], detach=True, auto_remove=True,
            network_mode="none", labels=owner_labels(),
        )  # fmt: skip
        self.name = str(self._container.short_id)
        self._container.reload()
        self.pid = int(self._container.attrs["State"]["Pid"])
        self.namespaces = read_links(self.exec(["sh", "-c", READ_LINKS]))

    def exec(self, argv: Sequence[str]) -> str:
        """Run a program in the container, as `docker exec` does; return what it printed."""
        return str(self._container.exec_run(list(argv)).output.decode())

    def close(self) -> None:
        """Remove it."""
        self._container.remove(force=True)
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<container {self.name} of {self.engine.kind}: PID {self.pid}>"
