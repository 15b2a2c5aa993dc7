"""What is left of a program that has run to its end."""

from __future__ import annotations

import html
from dataclasses import dataclass

from labsupport import trace


@dataclass(frozen=True)
class Completed:
    """A finished program.

    `stdout` and `stderr` are text (undecodable bytes are replaced), `returncode` is the exit
    status, or minus the number of the signal that ended it, `seconds` is wall-clock time.
    """

    argv: tuple[str, ...]
    stdout: str
    stderr: str
    returncode: int
    seconds: float

    @property
    def ending(self) -> str:
        """How it ended, in words; empty after success."""
        if self.returncode == 0:
            return ""
        if self.returncode > 0:
            return f"exit status {self.returncode}"
        return f"ended by {signal_name(-self.returncode)}"

    def __str__(self) -> str:
        parts = (
            f"$ {trace.command(self.argv)}",
            self.stdout.rstrip("\n"),
            self.stderr.rstrip("\n"),
            f"({self.ending})" if self.ending else "",
        )
        return "\n".join(part for part in parts if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre style='margin:0'>{html.escape(str(self))}</pre>"


def signal_name(number: int) -> str:
    """Name a signal as kill(1) does: 9 is `SIGKILL`."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
