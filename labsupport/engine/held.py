"""A container that lives as long as we do, `kill -9` included.

Its life hangs on our connection: PID 1 is `cat`, and the engine closes its input as soon as we have
gone, however that came about. Then it ends, and the engine removes the container.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labsupport.closing import Closing
from labsupport.engine.labels import owner_labels

if TYPE_CHECKING:
    from docker.models.containers import Container

    from labsupport.engine.client import Engine

PROGRAM = ["cat"]


class HeldContainer(Closing):
    """A running container of the course's base image, without a network; use it in a `with`.

    `pid` is its PID 1 on the engine's machine. Options are those of `docker run` in the Docker
    SDK's spelling: `cap_add=["SYS_ADMIN"]`.

    Raises:
        docker.errors.APIError: the engine does not take an option; it says which.

    """

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.engine, self.options = engine, options
        self.container: Container = engine.client.containers.create(
            engine.base_image(), PROGRAM, stdin_open=True, auto_remove=True, network_mode="none",
            **{"labels": owner_labels(), **options},
        )  # fmt: skip
        try:
            self._input: Any = self.container.attach_socket(params={"stdin": 1, "stream": 1})
            self.container.start()
            self.container.reload()
            self.pid = int(self.container.attrs["State"]["Pid"])
            self._look()
        except BaseException:
            _end(self.container)
            raise

    def _look(self) -> None:
        """See what a subclass must know of it; a failure ends the container."""

    def exec(self, argv: Sequence[str]) -> str:
        """Run a program in the container, as `docker exec` does; return what it printed."""
        output: Any = self.container.exec_run(list(argv)).output
        return str(output.decode())

    def close(self) -> None:
        """End it, and wait until it has gone; may be called twice."""
        if self._input is None:
            return
        self._input.close()
        self._input = None
        _end(self.container)


def _end(container: Container) -> None:
    from docker.errors import APIError, NotFound

    try:
        container.remove(force=True)
    except NotFound:  # its input was closed, so it has ended and been removed by itself
        return
    except APIError as error:
        if "already in progress" not in str(error):
            raise
