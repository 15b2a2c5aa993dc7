"""Have a holder start a program, and learn whether it did."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labsupport import trace
from labsupport.errors import NamespaceRefused, ProgramNotFound, SandboxEnded
from labsupport.linux import zygote_client
from labsupport.linux.process import Process
from labsupport.linux.refusals import explain


class Launch:
    """A program that was forked and is about to execute; its report tells whether it did."""

    recipe: tuple[str, Callable[[], str]]

    def __init__(self, process: Process, first: bool, calls: list[str], report: int) -> None:
        self.process, self.first, self.calls = process, first, calls
        self._report = report

    def settle(self) -> Callable[[], trace.Step]:
        """Wait until it executes; return what writes down what was done, should anybody ask.

        Raises:
            ProgramNotFound, NamespaceRefused: it does not execute, and why.

        """
        told = zygote_client.read_report(self._report)
        if "error" in told:
            self.process.wait()
            raise _not_started(self.process.argv, told["error"])
        what, line = self.recipe
        calls = (*self.calls, *told.get("calls", []))
        return lambda: trace.Step(what, line(), calls)


def spawn(
    channel: socket.socket,
    request: dict[str, Any],
    stdin: int | None,
    lasting: bool,
    settle: Callable[[], None],
) -> Launch:
    """Ask the holder for a program; `settle` takes what it has to say before it answers this."""
    null = os.open("/dev/null", os.O_RDONLY)
    # files in memory: they never block the program, and can be read while it runs
    files = [os.memfd_create(name) for name in ("stdout", "stderr")]
    status, status_write = os.pipe()
    report, report_write = os.pipe()
    try:
        fds = (null if stdin is None else stdin, *files, status_write, report_write)
        zygote_client.send(channel, request, fds)
        settle()
        answer, received = zygote_client.take(channel)
    except NamespaceRefused:
        for fd in (*files, status, report):
            os.close(fd)
        raise
    finally:
        for fd in (null, status_write, report_write):
            os.close(fd)
    if "pid" not in answer:
        for fd in (*files, status, report, *received):
            os.close(fd)
        raise _not_started(request["argv"], answer.get("error"))
    process = Process(request["argv"], answer["pid"], received[0], status, files, lasting)
    return Launch(process, answer["first"], answer["calls"], report)


def _not_started(
    argv: Sequence[str], error: Mapping[str, Any] | None
) -> ProgramNotFound | NamespaceRefused | SandboxEnded:
    line = trace.command(argv)
    if error is None:
        return SandboxEnded(f"{line} was not started", "the sandbox's helper process has ended")
    if error["step"] == "execute":
        return ProgramNotFound(
            f"{line} could not be executed",
            error["text"],
            "check its name, and that it is there inside the sandbox",
        )
    why, remedy = explain(error, ())
    return NamespaceRefused(f"{line} was not started ({error['step']})", why, remedy)
