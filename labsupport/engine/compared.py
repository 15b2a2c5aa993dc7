"""Containers of one image that differ in a single option, to be compared from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labsupport.engine.held import HeldContainer
from labsupport.errors import EngineElsewhere


class ComparedContainer(HeldContainer):
    """A running container whose processes can be looked at from here.

    `command` is what a person would type. See `HeldContainer` for the options.

    Raises:
        EngineElsewhere: the engine's containers are not processes of this kernel.
        docker.errors.APIError: the engine does not take an option; it says which.

    """

    def _look(self) -> None:
        _require_here(self.pid, str(self.container.id), self.engine.address)

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return " ".join(["docker run", *map(_flag, self.options.items()), "labsupport/busybox cat"])

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


def _flag(option: tuple[str, Any]) -> str:
    name, value = option
    values = value if isinstance(value, list) else [value]
    return " ".join(f"--{name.replace('_', '-')} {each}" for each in values)
