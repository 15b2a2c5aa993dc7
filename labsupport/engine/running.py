"""A container from its start to its end, and what `docker run` would have said of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labsupport import trace
from labsupport.engine.ran import Ran, not_started
from labsupport.errors import TimedOut

if TYPE_CHECKING:
    from docker.models.containers import Container


def start_and_end(container: Container, command: str, began: float, patience: float) -> Ran:
    """Start a container that has been created, and wait for its end; `began` is monotonic time.

    A container that cannot be started is an outcome, too.

    Raises:
        TimedOut: it did not end within `patience` seconds.

    """
    from docker.errors import APIError

    try:
        container.start()
    except APIError as error:
        container.reload()
        why, short = str(error.explanation), str(container.short_id)
        status = int(container.attrs["State"]["ExitCode"]) or not_started(why)
        return Ran(command, argv(container), "", why, status, time.monotonic() - began, short)
    return ended(container, command, began, patience)


def ended(container: Container, command: str, began: float, patience: float) -> Ran:
    """Wait for a container's end, and collect what it has said.

    Raises:
        TimedOut: it did not end within `patience` seconds.

    """
    import requests

    try:
        status = int(container.wait(timeout=patience)["StatusCode"])
    except requests.exceptions.RequestException as error:
        raise TimedOut(f"`{command}` does not end", f"waited for {patience:g} s") from error
    seconds = time.monotonic() - began
    output = container.logs(stdout=True, stderr=False).decode(errors="replace")
    errors = container.logs(stdout=False, stderr=True).decode(errors="replace")
    short = str(container.short_id)
    return Ran(command, argv(container), output, errors, status, seconds, short)


def argv(container: Container) -> tuple[str, ...]:
    """Return what the engine made of ENTRYPOINT, CMD and arguments."""
    return (container.attrs["Path"], *container.attrs["Args"])


def command_line(image: str, arguments: tuple[str, ...], options: Mapping[str, Any]) -> str:
    """Write the command line that does the same; shell words, as one would type them."""
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return trace.command(["docker", "run", "--rm", *flags, image, *arguments])
