"""The helper process that runs a program and notes every system call it makes.

The program runs under a filter that asks this process about each call; it is counted, and let pass.
Its children are under the same filter, so their calls count, too. What this process is given as
standard input and output is the program's.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import time

from labsupport.linux import syscalls as sc
from labsupport.linux.filters import notifications
from labsupport.linux.filters.prober import HOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PROGRAM = HOME.replace("prober", "recorder") + "recorder.main()"


def main() -> None:
    """Arguments: where to write the result, how many seconds it may take, the program."""
    result, seconds, *argv = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGTERM)  # if the notebook dies, so do we, tidily
    sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)
    with open(int(result), "w") as file:
        json.dump(record(argv, float(seconds), int(result)), file)


def record(argv: list[str], seconds: float, hidden: int) -> dict[str, object]:
    """Run a program to its end; return its status and its calls as [number, how often]."""
    with mmap.mmap(-1, 8) as shared, memoryview(shared).cast("q") as told:
        pid = sc.fork_sharing_files()
        if pid == 0:
            _be_program(argv, told, hidden)
        while not told[0]:
            time.sleep(0.0005)
        said = told[0]
    if said < 0:
        os.waitpid(pid, 0)
        return {"error": -said}
    children = notifications.Children()
    try:
        counts = _listen(said - 1, children, time.monotonic() + seconds)
        if counts is not None:
            status = os.waitstatus_to_exitcode(children.status_of(pid))
            return {"status": status, "counts": list(counts.items())}
    finally:
        _end_all()
    return {"timed_out": True}


def _be_program(argv: list[str], told: memoryview, hidden: int) -> NoReturn:
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        os.setsid()
        os.set_inheritable(hidden, False)
        # from the next line on, nothing works before the parent knows where to listen: so it learns
        # that through shared memory, which takes no call
        told[0] = sc.seccomp_new_listener(notifications.ask_about_all()) + 1
        os.execv(argv[0], argv)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        told[0] = told[0] or -(error.errno or 1)
    finally:
        os._exit(127)


def _listen(listener: int, children: notifications.Children, until: float) -> dict[int, int] | None:
    """Count calls until nobody is left who makes any; None if that takes too long.

    What happened before the first execve is ours, and not counted.
    """
    counts: dict[int, int] = {}
    for call in notifications.calls(listener, children, until):
        if call is None:
            return None
        if counts or call.number == sc.NR_EXECVE[os.uname().machine]:
            counts[call.number] = counts.get(call.number, 0) + 1
        notifications.let_pass(listener, call)
    os.close(listener)
    return counts


def _end_all() -> None:
    """Kill the program and all it has started; who loses its parent becomes our child."""
    try:
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for child in _children():
                    os.kill(child, signal.SIGKILL)
                os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _children() -> list[int]:
    """Our children, adopted ones included; those that have ended keep their numbers for us.

    /proc/PID/task/TID/children would tell, but not every kernel has it.
    """
    return [
        int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) == os.getpid()
    ]


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
