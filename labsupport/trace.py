"""What really happened: the system calls behind each step, and the shell commands that do the same.

Wrappers in `labsupport.kernel.syscalls` note every call they make, and the sandbox's helper
processes send their notes to the notebook. Nothing here is written by hand: a step that was not
taken cannot be shown.
"""

import html
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

environment: dict[str, str] = {}
"""What command lines in cells and terminals find in their environment, besides the notebook's own:
`DOCKER_HOST` says which engine it uses."""


@dataclass(frozen=True)
class Completed:
    """The result of a program that has run to its end.

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
            f"$ {command(self.argv)}",
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


@dataclass(frozen=True)
class Step:
    """One thing that was done: a shell command that does the same, and the calls that were made."""

    what: str
    shell: str
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Steps:
    """Steps in order; a notebook shows them folded."""

    title: str
    steps: tuple[Step, ...] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __str__(self) -> str:
        lines = []
        for step in self.steps:
            lines += [f"# {step.what}", f"$ {step.shell}", *(f"    {call}" for call in step.calls)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<details><summary>{html.escape(self.title)}</summary>"]
        for step in self.steps:
            calls = html.escape("\n".join(step.calls))
            parts.append(
                f"<p style='margin:.6em 0 .2em'>{html.escape(step.what)}</p>"
                f"<pre style='margin:0'><b>$ {html.escape(step.shell)}</b></pre>"
                + (f"<pre style='margin:0 0 0 2em;opacity:.8'>{calls}</pre>" if calls else "")
            )
        return "".join(parts) + "</details>"


def command(argv: Sequence[str]) -> str:
    """Write an argument list as a line for a shell."""
    return shlex.join(argv)
