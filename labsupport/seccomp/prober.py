"""What the helper processes of this room do: small Pythons that filters and children may end.

`try_calls` tries system calls under filters, without making them. A child puts itself under a
filter of ours that refuses every call that carries our mark, with a number that is not an errno of
the kernel, and then under the filters to be tried. The kernel follows the strictest answer, and of
equals the newest: so where the tried filters allow a call, ours answers, and otherwise theirs.

`record` runs a program under a filter that asks us about each call (SECCOMP_RET_USER_NOTIF in
seccomp(2)), which is counted and let pass. `try_guards` makes privileged calls with arguments that
do no harm, behind guards and in front of them. `reboot` calls reboot(2) where it ends a PID
namespace.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import signal
import struct
import sys
import time

from labsupport.kernel import syscalls as sc
from labsupport.ownership.reaper import end_descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

PASSED = 4094  # as errno: the filters let the call pass
ZERO, KILLED = -2, -3  # not an errno: the call "succeeded", it ended the child by SIGSYS
NOT_MADE = -1  # a filter killed the child before or at this call
MARK = 0x75707074  # as the sixth argument, of 32 bits on some machines: this call is a trial
NOWHERE = b"/nonexistent/labsupport"
LOOK_SECONDS = 0.02
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, then struct seccomp_data
_RESPONSE = struct.Struct("=QqiI")  # id, result, error, flags

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _JEQ, _RET = 0x20, 0x15, 0x06
_ERRNO, _NOTIFY, _ALLOW = 0x00050000, 0x7FC00000, 0x7FFF0000
_SIXTH = 16 + 5 * 8
_INSTRUCTION = struct.Struct("=HBBI")
_ASK_ABOUT_ALL = _INSTRUCTION.pack(_RET, 0, 0, _NOTIFY)
_REFUSE_MARKED = b"".join(
    _INSTRUCTION.pack(*each)
    for each in (
        (_LOAD, 0, 0, _SIXTH),
        (_JEQ, 0, 3, MARK),
        (_LOAD, 0, 0, _SIXTH + 4),
        (_JEQ, 0, 1, 0),
        (_RET, 0, 0, _ERRNO | PASSED),
        (_RET, 0, 0, _ALLOW),
    )
)

# sys/quota.h, linux/keyctl.h and time.h
_Q_GETQUOTA_OF_USER = 0x800007 << 8
_KEYCTL_GET_KEYRING_ID, _KEY_SPEC_SESSION_KEYRING = 0, 2**64 - 3
_CLOCK_REALTIME = 0
_SOMEBODY = 12345


def _child(fork: Callable[[], int], be: Callable[..., None], *arguments: Any) -> int:
    """Start a child that calls a function and ends, at the latest when we do; return its number."""
    us = os.getpid()
    if pid := fork():
        return pid
    try:
        sc.end_with(us)
        be(*arguments)
    finally:
        os._exit(127)


def _shared(count: int) -> memoryview:
    """Return memory for numbers, shared with the children; there are 0s in it."""
    return memoryview(mmap.mmap(-1, 8 * count)).cast("q")


# Trying calls under filters


def try_calls() -> None:
    """Read {"programs": […], "calls": […]}, write a number for each call.

    It is an errno, `PASSED`, `ZERO` or `KILLED`.
    """
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    programs, calls = _programs(request), request["calls"]
    results = _shared(len(calls) + 1)  # the last is the number of the call that is being tried
    begin = 0
    while begin < len(calls):
        begin = _until_killed(programs, calls, results, begin)
    json.dump(list(results[: len(calls)]), sys.stdout)


def _programs(request: Mapping[str, Any]) -> list[bytes]:
    return [bytes.fromhex(program) for program in request["programs"]]


def _until_killed(
    programs: Sequence[bytes], calls: Sequence[Any], results: memoryview, begin: int
) -> int:
    """Try calls in a child; return where to go on after one of them has ended it."""
    end = len(calls)
    results[end] = -1
    _, status = os.waitpid(_child(os.fork, _try_from, programs, calls, results, begin), 0)
    at, ended = results[end], os.waitstatus_to_exitcode(status)
    if at == end:  # it is done; how it ended was up to the filters
        return at
    if ended == -signal.SIGSYS and at >= begin:
        results[at] = KILLED
        return at + 1
    where = f"at {calls[at]}" if at >= begin else "when it loaded the filters"
    raise SystemExit(f"the child that tries calls ended with {ended} {where}")


def _try_from(
    programs: Sequence[bytes], calls: Sequence[Any], results: memoryview, begin: int
) -> None:
    end = len(calls)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    for program in (_REFUSE_MARKED, *programs):
        sc.seccomp_set_filter(program)
    for at in range(begin, end):
        results[end] = at
        number, arguments = calls[at]
        result, error = sc.raw_call(number, (*arguments, MARK))
        results[at] = error if result == -1 else ZERO
    results[end] = end


# Recording a program's calls


def record(result: str, seconds: str, *argv: str) -> None:
    """Write to a descriptor what a program calls within some seconds; its streams are ours."""
    signal.signal(signal.SIGTERM, _leave)
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGTERM)  # if the notebook dies, so do we, tidily
    sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)
    with open(int(result), "w") as file:
        json.dump(_recorded(list(argv), time.monotonic() + float(seconds), int(result)), file)


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever ends us may end, too, and tell us again
    sys.exit(1)


def _recorded(argv: list[str], until: float, hidden: int) -> dict[str, object]:
    """Run a program to its end; return its status and its calls as [number, how often]."""
    told = _shared(1)
    ended: dict[int, int] = {}
    try:
        pid = _child(sc.fork_sharing_files, _be_program, argv, told, hidden)
        while not told[0]:
            time.sleep(0.0005)
        if told[0] < 0:
            os.waitpid(pid, 0)
            raise SystemExit(f"no seccomp filter can be loaded here: {os.strerror(-told[0])}")
        if (counts := _counted(told[0] - 1, ended, until)) is None:
            return {"timed_out": True}
        status = ended[pid] if pid in ended else os.waitpid(pid, 0)[1]
        return {"status": os.waitstatus_to_exitcode(status), "counts": list(counts.items())}
    finally:
        end_descendants()


def _be_program(argv: list[str], told: memoryview, hidden: int) -> None:
    """Come under a filter that asks, leave its descriptor plus 1 (or minus the errno), execute.

    No call works before the parent knows where to listen. It learns that through shared memory,
    which takes no call; the descriptor is the parent's, too.
    """
    os.setsid()
    os.set_inheritable(hidden, False)
    try:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        told[0] = sc.seccomp_new_listener(_ASK_ABOUT_ALL) + 1
    except OSError as error:
        told[0] = -(error.errno or 1)
        raise
    os.execv(argv[0], argv)  # noqa: S606 (no shell is wanted)


def _counted(listener: int, ended: dict[int, int], until: float) -> dict[int, int] | None:
    """Count calls until nobody is left under the filter; None if somebody is when `until` comes.

    Before Linux 6.11, a child that has ended stays there until waited for: `ended` gets those.
    """
    counts: dict[int, int] = {}
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        ready = waiting.poll(min(left, LOOK_SECONDS) * 1000)
        if not ready:
            _collect(ended)
        elif ready[0][1] & select.POLLIN:
            _let_pass(listener, counts)
        else:
            os.close(listener)
            return counts
    return None


def _let_pass(listener: int, counts: dict[int, int]) -> None:
    """Have the kernel make a call, and count it if it is the program's, from its execve on."""
    raw = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, sc.SECCOMP_IOCTL_NOTIF_RECV, raw)
        identity, _, _, number, *_ = _NOTIFICATION.unpack(raw)
        if counts or number == sc.NR_EXECVE[os.uname().machine]:
            counts[number] = counts.get(number, 0) + 1
        response = _RESPONSE.pack(identity, 0, 0, sc.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        fcntl.ioctl(listener, sc.SECCOMP_IOCTL_NOTIF_SEND, response)
    except (FileNotFoundError, InterruptedError):  # the caller was killed meanwhile
        return


def _collect(ended: dict[int, int]) -> None:
    """Note the wait statuses of our children that have ended."""
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    except ChildProcessError:  # there are none left
        return


# Making privileged calls behind guards


def try_guards() -> None:
    """Read a request from standard input, write [errno of each call] for each combination."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    # to be traced by somebody who may have fewer capabilities than it has
    target = _child(os.fork, signal.pause)
    try:
        json.dump([_tried(request, each, target) for each in request["combinations"]], sys.stdout)
    finally:
        os.kill(target, signal.SIGKILL)
        os.waitpid(target, 0)


def _tried(request: Mapping[str, Any], guards: Mapping[str, Any], target: int) -> list[int]:
    """Make each call in a child of its own: one call may change what the next one meets."""
    results = _shared(len(request["calls"]))
    for at, (name, number) in enumerate(request["calls"]):
        results[at] = NOT_MADE
        values = _arguments(name, target, request["device"])
        os.waitpid(_child(os.fork, _try_behind, guards, number, values, results[at : at + 1]), 0)
    return list(results)


def _arguments(name: str, target: int, device: str) -> tuple[int | bytes, ...]:
    """Return the arguments of one of the calls; the module `guards` says why they are so.

    `target` is a process to be traced, `device` one with a file system that may have quotas.
    """
    nobody = bytes(256)  # where quotactl(2) would put its answer
    harmless: dict[str, tuple[int | bytes, ...]] = {
        "reboot": (0, 0, 0, 0),
        "quotactl": (_Q_GETQUOTA_OF_USER, device.encode(), _SOMEBODY, nobody),
        "mount": (0, b"/", 0, 0, 0),
        "unshare": (sc.CLONE_NEWUTS,),
        "sethostname": (bytes(65), 65),  # one more than the kernel takes
        "chroot": (b"/",),
        "ptrace": (sc.PTRACE_SEIZE, target, 0, 0),
        "clock_settime": (_CLOCK_REALTIME, struct.pack("=qq", 0, 0)),
        "keyctl": (_KEYCTL_GET_KEYRING_ID, _KEY_SPEC_SESSION_KEYRING, 0),
        "swapon": (NOWHERE, 0),
    }
    return harmless[name]


def _try_behind(
    guards: Mapping[str, Any], number: int, values: Sequence[int | bytes], result: memoryview
) -> None:
    if guards["inner"]:
        sc.unshare(sc.CLONE_NEWUSER)
    programs = _programs(guards)
    if programs:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)  # before a privilege is missed that loading takes
    effective, permitted, _ = sc.capget()
    sc.capset(effective & guards["kept"], permitted & guards["kept"], 0)
    for program in programs:
        sc.seccomp_set_filter(program)
    result[0] = sc.raw_call(number, values)[1]


# Ending a PID namespace


def namespace(pid: int | str, kind: str) -> int:
    """Return the inode by which the kernel knows a process's namespace of a kind."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def reboot(*given: str) -> None:
    """Enter a process's namespaces of user and PID, see that they are those meant, and call.

    Arguments: the process, and the inodes of its two namespaces. No file is read inside, where this
    user may be somebody who may not.
    """
    target, *meant = map(int, given)
    opened = [os.open(f"/proc/{target}/ns/{kind}", os.O_RDONLY) for kind in ("user", "pid")]
    for each in opened:
        sc.setns(each)
    _, status = os.waitpid(_child(os.fork, _reboot_if, meant), 0)  # who enters is not in it
    sys.exit(os.waitstatus_to_exitcode(status))


def _reboot_if(meant: Sequence[int]) -> None:
    try:
        if [namespace("self", kind) for kind in ("user", "pid")] != meant:
            raise PermissionError("these are not the namespaces that were meant")
        sc.restart_pid_namespace()
    except OSError as error:
        os.write(2, str(error).encode())


def main(words: Sequence[str]) -> None:
    """Call the function of this module that the first word names, with the other words."""
    globals()[words[0]](*words[1:])
