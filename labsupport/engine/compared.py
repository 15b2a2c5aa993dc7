"""Containers of one image that differ in a single option, to be compared from outside.

Their life hangs on our connection: PID 1 is `cat`, and the engine closes its input as soon as we
have gone, however that came about. Then it ends, and the engine removes the container.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from labsupport.engine.labels import owner_labels
from labsupport.errors import EngineElsewhere

if TYPE_CHECKING:
    from docker.models.containers import Container

    from labsupport.engine.client import Engine

PROGRAM = ["cat"]


class ComparedContainer:
    """A running container of the course's base image, without a network.

    `pid` is its PID 1, on the engine's side; `command` what a person would type. Options are those
    of `docker run` in the Docker SDK's spelling: `cap_add=["SYS_ADMIN"]`, `cap_drop=["ALL"]`,
    `security_opt=["seccomp=unconfined"]`, `user="65534"`.

    Raises:
        EngineElsewhere: the engine's containers are not processes of this kernel.
        docker.errors.APIError: the engine does not take an option; it says which.

    """

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.options = options
        self.container: Container = engine.client.containers.create(
            engine.base_image(), PROGRAM, stdin_open=True, auto_remove=True, network_mode="none",
            labels=owner_labels(), **options,
        )  # fmt: skip
        try:
            self._input: Any = self.container.attach_socket(params={"stdin": 1, "stream": 1})
            self.container.start()
            self.container.reload()
            self.pid = int(self.container.attrs["State"]["Pid"])
            _require_here(self.pid, str(self.container.id), engine.address)
        except BaseException:
            _end(self.container)
            raise

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return " ".join(["docker run", *map(_flag, self.options.items()), "labsupport/busybox cat"])

    def close(self) -> None:
        """End it, and wait until it has gone; may be called twice."""
        if self._input is None:
            return
        self._input.close()
        self._input = None
        _end(self.container)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.command}: PID {self.pid}>"


def _require_here(pid: int, identity: str, address: str) -> None:
    """See that the number is that of the container's process here, and not of somebody else's."""
    file = Path(f"/proc/{pid}/cgroup")
    if not file.exists() or identity not in file.read_text():
        raise EngineElsewhere(
            "the container cannot be looked at from here",
            f"the engine at {address} runs its containers on another kernel (in a virtual machine)",
            "choose the kernel “Lab VM” for this notebook",
        )


def _end(container: Container) -> None:
    from docker.errors import APIError, NotFound

    try:
        container.remove(force=True)
    except NotFound:  # its input was closed, so it has ended and been removed by itself
        return
    except APIError as error:
        if "already in progress" not in str(error):
            raise


def _flag(option: tuple[str, Any]) -> str:
    name, value = option
    values = value if isinstance(value, list) else [value]
    return " ".join(f"--{name.replace('_', '-')} {each}" for each in values)
