"""What runs in the end: every form of ENTRYPOINT with every form of CMD, built and run.

Each instruction can be written as a list (the exec form) or as a line (the shell form, which
becomes the list `/bin/sh -c LINE`). What an engine starts is ENTRYPOINT's list with CMD's behind
it, and arguments take CMD's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.engine.ran import Ran
from labsupport.engine.workbench import Workbench

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
    """One way to write it, and what came of it.

    `entrypoint` and `cmd` are lines of the Dockerfile, `arguments` stood behind the image's name.
    `config` is what the image says of both, as lists. `pid` is the number of our program in the
    container, `first` the name of PID 1 there; 0 and empty if the program never ran.
    """

    entrypoint: str
    cmd: str
    arguments: tuple[str, ...]
    config: tuple[tuple[str, ...], tuple[str, ...]]
    ran: Ran
    pid: int
    first: str

    @property
    def said(self) -> str:
        """What was printed; or, if our program did not run, why."""
        return self.ran.output.strip() if self.pid else self._failure

    @property
    def _failure(self) -> str:
        last = (self.ran.said.splitlines() or ["nothing"])[-1]
        return last.rpartition("exec: ")[2].removesuffix(": unknown")

    def __repr__(self) -> str:
        lines = ", ".join(part for part in (self.entrypoint, self.cmd, *self.arguments) if part)
        return f"<{lines}: {self.said!r}, status {self.ran.status}>"


def form(line: str) -> str:
    """Which form an instruction has: `exec`, `shell` or, without one, `none`."""
    words = line.partition(" ")[2]
    return "exec" if words.startswith("[") else "shell" if words else "none"


def try_starts(
    bench: Workbench, entrypoint: str, cmds: Sequence[str] = CMDS, argument: str = ARGUMENT
) -> list[Start]:
    """Build an image with each CMD and run it; and the first of them with an argument, too."""
    # without a network of its own it starts in two thirds of the time, and greet needs none
    return [
        try_start(bench, entrypoint, cmd, *arguments, network="host")
        for cmd, arguments in (*((cmd, ()) for cmd in cmds), (cmds[0], (argument,)))
    ]


def build_greet(bench: Workbench) -> None:
    """Build the image that the others begin with: busybox, and the program `greet`."""
    bench.write("greet", GREET, executable=True)
    bench.build("FROM labsupport/busybox\nCOPY greet /usr/local/bin/\n", BASE)


def try_start(
    bench: Workbench,
    entrypoint: str,
    cmd: str,
    *arguments: str,
    patience: float = 60,
    network: str = "none",
) -> Start:
    """Build an image of two lines at most, unless it is there already, and run it.

    Raises:
        TimedOut: the program did not end within `patience` seconds.

    """
    if BASE not in bench.images:
        build_greet(bench)
    name = "-".join(["greet", form(entrypoint), form(cmd)])
    if name not in bench.images:
        bench.build("\n".join([f"FROM labsupport/{BASE}", entrypoint, cmd, ""]), name)
    config = bench.image(name).attrs["Config"]
    lists = tuple(tuple(config.get(key) or ()) for key in ("Entrypoint", "Cmd"))
    ran = bench.run(name, *arguments, patience=patience, network_mode=network)
    pid, first = _who(ran.errors)
    return Start(entrypoint, cmd, arguments, (lists[0], lists[1]), ran, pid, first)


def _who(errors: str) -> tuple[int, str]:
    for line in errors.splitlines():
        if line.startswith("PID ") and " is " in line:
            return int(line.split()[1].rstrip(",")), line.rpartition(" is ")[2].strip()
    return 0, ""
