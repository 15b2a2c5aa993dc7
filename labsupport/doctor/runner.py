"""Try everything at once: probes run side by side in forked children, a few in each.

The process that does so is small and has one thread, so that a plain fork is safe and costs a
millisecond; whatever a child does to its namespaces ends with it. A probe that does not answer in
time is asked to stop, then killed with all that it started; its answer says so.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labsupport.errors import LabError
from labsupport.kernel import syscalls as sc

Batch = dict[str, Callable[[], str]]

LIMIT_SECONDS = 8.0  # busy machines are slow, and a wrong "no" makes a student miss the cell
_LIMIT_IN_STARTS = 50
_GRACE_SECONDS = 0.2
_REMEDY_WHERE_LATE = "try again when the machine is less busy: ./lab doctor"
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
    except LabError as no:
        return {"reason": f"{no.what}: {no.why}" if no.why else no.what, "remedy": no.remedy}
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
    us, pid = os.getpid(), os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        sc.end_with(us)
        if new_group:
            os.setpgid(0, 0)
            # time is up: pass through every `finally`, and answer nothing more
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        for name, function in probes.items():
            os.write(writing, json.dumps([name, outcome_of(function)]).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def finish(pid: int, reading: int) -> tuple[dict[str, Outcome], str]:
    """Wait for a child of `start()`; return its answers, and how it ended if not as it should."""
    with open(reading, "rb") as pipe:
        answers = dict(json.loads(line) for line in pipe)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return answers, ended if code else ""


def patience(start_seconds: float) -> float:
    """Return how long a probe may take, from how long it took to start a Python."""
    # where every instruction is emulated, that is ten times as long as usual; so are the probes
    return max(LIMIT_SECONDS, _LIMIT_IN_STARTS * start_seconds)


def ended_by(how: str) -> Outcome:
    """Return the outcome of a probe in which its process ended."""
    remedy = "a seccomp filter kills the caller: loosen it" if how == "SIGSYS" else ""
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


def run(wanted: list[Batch], limit_seconds: float) -> dict[str, Outcome]:
    """Run all batches side by side and return what each probe has found."""
    # where one probe is stuck or dies, those that came after it are run again, one by one
    running = {}
    for batch in wanted:
        pid, reading = start(batch, new_group=True)
        running[reading] = pid, batch
    outcomes: dict[str, Outcome] = {}
    again: list[Batch] = []
    late = _still_silent(list(running), time.monotonic() + limit_seconds)
    for reading, (pid, batch) in running.items():
        if reading in late:
            os.kill(pid, signal.SIGTERM)  # it may clean up; then all that it started goes, too
            _still_silent([reading], time.monotonic() + _GRACE_SECONDS)
            os.killpg(pid, signal.SIGKILL)
        answers, how = finish(pid, reading)
        outcomes |= answers
        if silent := [name for name in batch if name not in answers]:
            failed, *untried = silent
            reason = f"there was no answer within {limit_seconds:.3g} s"
            too_late = {"reason": reason, "remedy": _REMEDY_WHERE_LATE}
            outcomes[failed] = too_late if reading in late else ended_by(how)
            again += [{name: batch[name]} for name in untried]
    return outcomes | (run(again, limit_seconds) if again else {})


def _still_silent(reading: list[int], deadline: float) -> set[int]:
    """Wait until all have closed their pipes; return those that have not at the deadline."""
    waiting = select.poll()
    for pipe in reading:
        waiting.register(pipe, 0)  # POLLHUP is always told
    silent = set(reading)
    while silent and (seconds := deadline - time.monotonic()) > 0:
        for pipe, _ in waiting.poll(seconds * 1000):
            waiting.unregister(pipe)
            silent.remove(pipe)
    return silent
