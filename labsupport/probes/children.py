"""Run a function in a forked child and learn how it went.

The probes' own helper process is small and has one thread, so a plain fork is safe and costs
about a millisecond. Whatever a child does to its namespaces ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
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


def start(probes: Mapping[str, Callable[[], str]], *, new_group: bool = False) -> tuple[int, int]:
    """Fork a child that runs `probes` one after another; return its PID and where it answers.

    With `new_group` the child leads a process group, to be killed with its own children; before
    that, SIGTERM lets a probe clean up on its way out.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if new_group:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, _leave)
        for name, function in probes.items():
            os.write(writing, json.dumps([name, outcome_of(function)]).encode() + b"\n")
        status = 0
    except _Stopped:
        pass
    finally:
        os._exit(status)


class _Stopped(BaseException):
    """Time is up: pass through every `finally`, and answer nothing more."""


def _leave(*_: object) -> None:
    raise _Stopped


def finish(pid: int, reading: int) -> tuple[dict[str, Outcome], str]:
    """Wait for a child of `start()`; return its answers, and how it ended if not as it should."""
    with open(reading, "rb") as pipe:
        answers = dict(json.loads(line) for line in pipe)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return answers, ended if code else ""


def ended_by(how: str) -> Outcome:
    """Return the outcome of a probe in which its process ended."""
    remedy = "a seccomp filter kills whoever makes the call: loosen it" if how == "SIGSYS" else ""
    return {"reason": f"the process that tried was ended by {how}", "remedy": remedy}


def inside(function: Callable[[], str]) -> str:
    """Run a part of a probe in a further child, as PID and time namespaces demand."""
    answers, how = finish(*start({"": function}))
    outcome = answers.get("") or ended_by(how)
    if "found" in outcome:
        return str(outcome["found"])
    if "step" in outcome:
        raise Failed(outcome["step"], outcome["errno"])
    raise Refused(outcome["reason"], outcome["remedy"])
