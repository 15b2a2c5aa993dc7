"""Run a function in a forked child and learn how it went.

The probes' own helper process is small and has one thread, so a plain fork is safe and costs
about a millisecond. Whatever a child does to its namespaces ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from labsupport.linux import syscalls as sc

Outcome = dict[str, Any]
"""`{"found": text}`, `{"reason":, "remedy":}` or `{"step":, "errno":}`: plain data for JSON."""


class Refused(Exception):
    """A probe says no, and knows why and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason, remedy)


class Failed(Exception):
    """A system call said no: `step` is what was tried, in plain words."""

    def __init__(self, step: str, errno: int) -> None:
        self.step, self.errno = step, errno
        super().__init__(step, errno)


@contextlib.contextmanager
def step(words: str) -> Iterator[None]:
    """Name what is tried, so that a refusal can say it."""
    try:
        yield
    except OSError as error:
        raise Failed(words, error.errno or 0) from error


def outcome_of(function: Callable[[], str]) -> Outcome:
    """Call a probe and put its verdict, whatever it is, into plain data."""
    try:
        return {"found": function()}
    except Refused as no:
        return {"reason": no.reason, "remedy": no.remedy}
    except Failed as no:
        return {"step": no.step, "errno": no.errno}
    except OSError as error:
        return {"step": str(error.filename or error.strerror), "errno": error.errno or 0}
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        return {"reason": f"the probe itself failed ({fault})", "remedy": "please report this"}


def spawn(function: Callable[[], str], *, new_group: bool = False) -> tuple[int, int]:
    """Fork a child that runs `function`; return its PID and where its outcome can be read.

    With `new_group` the child leads a process group, to be killed with its own children.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        if new_group:
            os.setpgid(0, 0)
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.write(writing, json.dumps(outcome_of(function)).encode())
        status = 0
    finally:
        os._exit(status)


def collect(pid: int, reading: int) -> Outcome:
    """Wait for a child of `spawn()` and return its outcome."""
    with open(reading, "rb") as pipe:
        raw = pipe.read()
    _, status = os.waitpid(pid, 0)
    if raw:
        return dict(json.loads(raw))
    code = os.waitstatus_to_exitcode(status)
    name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return {"reason": f"the process that tried was ended by {name}", "remedy": _remedy(name)}


def _remedy(name: str) -> str:
    return "a seccomp filter kills whoever makes the call: loosen it" if name == "SIGSYS" else ""


def inside(function: Callable[[], str]) -> str:
    """Run a part of a probe in a further child, as PID and time namespaces demand."""
    outcome = collect(*spawn(function))
    if "found" in outcome:
        return str(outcome["found"])
    if "step" in outcome:
        raise Failed(outcome["step"], outcome["errno"])
    raise Refused(outcome["reason"], outcome["remedy"])
