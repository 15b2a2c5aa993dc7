"""What is left of a container that has run to its end."""

from __future__ import annotations

import html
from dataclasses import dataclass


def not_started(why: str) -> int:
    """Return the status that `docker run` and `podman run` end with if nothing could be started.

    Both take it from the words of the error; Docker's API tells it, too, Podman's does not.
    """
    if "not found" in why or "no such file" in why:
        return 127
    return 126 if "permission denied" in why else 125


@dataclass(frozen=True)
class Ran:
    """A run: the `command` that does the same, and what came of it.

    `argv` is what the engine made of the image's ENTRYPOINT and CMD and of the arguments; it is
    empty if no container could be made. `output` and `errors` are text, `status` is the exit status
    (125: no container; 126 and 127: its program cannot be executed, or is not there), `seconds`
    wall-clock time. `short_id` was the container's.
    """

    command: str
    argv: tuple[str, ...]
    output: str
    errors: str
    status: int
    seconds: float
    short_id: str = ""

    @property
    def said(self) -> str:
        """All that it wrote, in short: the error's end, if it was not even started."""
        return (self.output + self.errors).strip()

    def __str__(self) -> str:
        ending = f"(exit status {self.status})" if self.status else ""
        return "\n".join(part for part in (f"$ {self.command}", self.said, ending) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre style='margin:0;white-space:pre-wrap'>{html.escape(str(self))}</pre>"
