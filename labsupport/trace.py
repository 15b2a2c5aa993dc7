"""What really happened: the system calls behind each step, and the shell commands that do the same.

Wrappers in `labsupport.linux.syscalls` note every call they make, and the sandbox's helper
processes send their notes to the notebook. Nothing here is written by hand: a step that was not
taken cannot be shown.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


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
