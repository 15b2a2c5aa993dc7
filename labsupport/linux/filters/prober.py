"""The helper process that tries system calls under seccomp filters, without making them.

A child puts itself under a filter of ours that asks this process about every call that carries our
mark, and then under the filters to be tried. The kernel runs all of them and follows the strictest
answer; asking is less strict than refusing, and stricter than allowing. So a call that the tried
filters let pass is asked about here, and refused by us with a number that is no errno of the
kernel; any other outcome is theirs. Nothing that is tried is ever done.

It also runs inside containers: then it needs no filters, for it is under the container's.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys

from labsupport.linux import syscalls as sc
from labsupport.linux.filters import notifications

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED = 4094  # as errno: the filters let the call pass
TRAPPED, ZERO, KILLED = -1, -2, -3  # not an errno: SIGSYS came, it "succeeded", it ended the child
HOME = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from labsupport.linux.filters import prober; "
)
PROGRAM = f"{HOME}prober.main()"

Request = tuple[int, list[int]]


def main() -> None:
    """Read {"programs": […], "calls": […]} and write a list of numbers, one a call."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    programs = [bytes.fromhex(program) for program in request["programs"]]
    json.dump(outcomes(programs, request["calls"]), sys.stdout)


def outcomes(programs: Sequence[bytes], calls: Sequence[Request]) -> list[int]:
    """Try all calls: an errno, `PASSED`, `TRAPPED`, `ZERO` or `KILLED` for each."""
    with mmap.mmap(-1, 8 * (len(calls) + 1)) as shared, memoryview(shared).cast("q") as results:
        begin = 0
        while begin < len(calls):
            begin = _until_killed(programs, calls, results, begin)
        return list(results[: len(calls)])


def _until_killed(
    programs: Sequence[bytes], calls: Sequence[Request], results: memoryview, begin: int
) -> int:
    """Try calls in a child; return where to go on after one of them has ended it."""
    ready, tell = os.pipe()
    pid = sc.fork_sharing_files()
    if pid == 0:
        _be_child(programs, calls, results, begin, tell)
    told = os.read(ready, 16)  # the child says it in any case: this end is ours, too
    os.close(ready)
    os.close(tell)
    listener = int(told)
    if listener < 0:
        raise SystemExit(f"no seccomp filter can be loaded here: {os.strerror(-listener)}")
    children = notifications.Children()
    for call in filter(None, notifications.calls(listener, children)):
        if call.number == calls[results[len(calls)]][0]:
            notifications.refuse(listener, call, PASSED)
        else:  # the return from a signal handler: our mark was still in its register
            notifications.let_pass(listener, call)
    os.close(listener)
    ended = os.waitstatus_to_exitcode(children.status_of(pid))
    at = results[len(calls)]
    if at == len(calls):  # it is done; how it ended was up to the filters
        return at
    if ended == -signal.SIGSYS and at >= begin:
        results[at] = KILLED
        return at + 1
    where = f"at {calls[at]}" if at >= begin else "when it loaded the filters"
    raise SystemExit(f"the child that tries calls ended with {ended} {where}")


def _be_child(
    programs: Sequence[bytes], calls: Sequence[Request], results: memoryview, begin: int, tell: int
) -> None:
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGSYS, _note_trap)
        results[len(calls)] = -1
        notifications.announce(notifications.ask_about_marked(), tell)
        for program in programs:
            sc.seccomp_set_filter(program)
        for at in range(begin, len(calls)):
            results[len(calls)] = at
            results[at] = _try(*calls[at])
        results[len(calls)] = len(calls)
    finally:
        os._exit(1)


def _try(number: int, arguments: Sequence[int]) -> int:
    result, error = sc.raw_call(number, (*arguments, notifications.MARK))
    if _has_trapped():  # what the call then returns differs between architectures
        return TRAPPED
    return error if result == -1 else ZERO


_traps: list[int] = []


def _note_trap(number: int, _frame: object) -> None:
    _traps.append(number)


def _has_trapped() -> bool:
    """Whether SIGSYS came; Python has run the handler when it enters this function."""
    return bool(_traps) and bool(_traps.pop())
