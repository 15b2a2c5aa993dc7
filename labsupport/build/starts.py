"""What finally runs: every form of ENTRYPOINT with every form of CMD, built and run.

Each instruction can be written as a list (the exec form) or as a line (the shell form, which
becomes the list `/bin/sh -c LINE`). What an engine starts is ENTRYPOINT's list with CMD's behind
it, and arguments take CMD's place.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.build.container import Ran
from labsupport.build.workbench import Workbench
from labsupport.figure.table import PlainTable

# says what it was given, which process it is, and who PID 1 is
GREET = """#!/bin/sh
echo "$*"
echo "PID $$, and PID 1 is $(cat /proc/1/comm)" >&2
"""
BASE = "greet"
ENTRYPOINTS = ("", 'ENTRYPOINT ["greet", "Hello"]', "ENTRYPOINT greet Hello")
CMDS = ('CMD ["world"]', "CMD world")
ARGUMENT = "Pavlos"


@dataclass(frozen=True)
class Start:
    """One way to write it, and its outcome.

    `entrypoint` and `cmd` are lines of the Dockerfile, `arguments` came after the image's name.
    `first` is the name of PID 1 in the container; empty if our program never ran.
    """

    entrypoint: str
    cmd: str
    arguments: tuple[str, ...]
    ran: Ran
    first: str

    @property
    def said(self) -> str:
        """What was printed; or, if our program did not run, why."""
        if self.first:
            return self.ran.output.strip()
        last = (self.ran.said.splitlines() or ["nothing"])[-1]
        return last.rpartition("exec: ")[2].removesuffix(": unknown")

    def __repr__(self) -> str:
        lines = ", ".join(part for part in (self.entrypoint, self.cmd, *self.arguments) if part)
        return f"<{lines}: {self.said!r}, status {self.ran.status}>"


def form(line: str) -> str:
    """Which form an instruction has: `exec`, `shell` or, without one, `none`."""
    words = line.partition(" ")[2]
    return "exec" if words.startswith("[") else "shell" if words else "none"


def try_starts(bench: Workbench, entrypoint: str) -> list[Start]:
    """Build an image with each CMD and run it; and the first of them with an argument, too."""
    # without a network of its own it starts in two thirds of the time, and greet needs none
    return [
        try_start(bench, entrypoint, cmd, *arguments, network="host")
        for cmd, arguments in (*((cmd, ()) for cmd in CMDS), (CMDS[0], (ARGUMENT,)))
    ]


def try_start(
    bench: Workbench, entrypoint: str, cmd: str, *arguments: str, network: str = "none"
) -> Start:
    """Build an image of two lines at most, unless it is there already, and run it.

    Raises `TimedOut`: the program did not end within a minute.
    """
    if BASE not in bench.images:
        bench.write("greet", GREET, executable=True)
        bench.build("FROM labsupport/busybox\nCOPY greet /usr/local/bin/\n", BASE)
    name = "-".join(["greet", form(entrypoint), form(cmd)])
    if name not in bench.images:
        bench.build("\n".join([f"FROM labsupport/{BASE}", entrypoint, cmd, ""]), name)
    ran = bench.run(name, *arguments, network_mode=network)
    return Start(entrypoint, cmd, arguments, ran, ran.errors.partition("PID 1 is ")[2].strip())


def outcomes(starts: Sequence[Start]) -> PlainTable:
    """Return a row for each start: what was written, what was started, what came of it."""
    failed = sum(each.ran.status != 0 for each in starts)
    head = ("ENTRYPOINT", "CMD", "arguments", "is started", "says", "exit status", "PID 1 is")
    return PlainTable(
        f"{len(starts)} ways to start a program; {failed} fail", head, tuple(map(_row, starts))
    )


def _row(each: Start) -> tuple[str, ...]:
    written = (each.entrypoint.partition(" ")[2], each.cmd.partition(" ")[2])
    started = f"`{shlex.join(each.ran.argv)}`"
    return (
        *(f"`{line}`" if line else "none" for line in written), " ".join(each.arguments),
        started, each.said, str(each.ran.status), each.first or "nobody",
    )  # fmt: skip
