"""The helper process that makes privileged system calls with arguments that do no harm.

Each is made for real, by children that have put different things on: a seccomp filter, less
capabilities, a user namespace of their own. Whatever is asked for cannot be granted by the kernel
even to root (a wrong magic number, a file that is not there, a time before the machine was
started), or is undone when the child ends.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys

from labsupport.linux import syscalls as sc
from labsupport.linux.filters.prober import HOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

PROGRAM = HOME.replace("prober", "guard_trials") + "guard_trials.main()"
NOWHERE = b"/nonexistent/labsupport"
NOT_MADE = -1

# sys/quota.h, linux/keyctl.h and time.h
_Q_GETQUOTA_OF_USER = 0x800007 << 8
_KEYCTL_GET_KEYRING_ID, _KEY_SPEC_SESSION_KEYRING = 0, 2**64 - 3
_CLOCK_REALTIME = 0
_SOMEBODY = 12345


def arguments(name: str, target: int, device: str) -> tuple[int | bytes, ...]:
    """Return the arguments of one of the calls; the module `guards` says why they are so.

    `target` is a process to be traced, `device` one with a file system that may have quotas.
    """
    nobody = bytes(256)  # where quotactl(2) would put its answer
    harmless: dict[str, tuple[int | bytes, ...]] = {
        "reboot": (0, 0, 0, 0),
        "quotactl": (_Q_GETQUOTA_OF_USER, device.encode(), _SOMEBODY, nobody),
        "mount": (0, b"/", 0, 0, 0),
        "unshare": (sc.CLONE_NEWUTS,),
        "ptrace": (sc.PTRACE_SEIZE, target, 0, 0),
        "clock_settime": (_CLOCK_REALTIME, struct.pack("=qq", 0, 0)),
        "keyctl": (_KEYCTL_GET_KEYRING_ID, _KEY_SPEC_SESSION_KEYRING, 0),
        "swapon": (NOWHERE, 0),
        "init_module": (0, 0, b""),
    }
    return harmless[name]


def main() -> None:
    """Read a request from standard input, write [errno of each call] for each combination."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    target = _start_target()
    try:
        json.dump(
            [_in_child(request, each, target) for each in request["combinations"]], sys.stdout
        )
    finally:
        os.kill(target, signal.SIGKILL)
        os.waitpid(target, 0)


def _start_target() -> int:
    """A process with all our capabilities, to be traced by somebody who may have fewer."""
    pid = os.fork()
    if pid == 0:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        while True:
            signal.pause()
    return pid


def _in_child(request: Mapping[str, Any], combination: Mapping[str, Any], target: int) -> list[int]:
    calls = request["calls"]
    with mmap.mmap(-1, 8 * len(calls)) as shared, memoryview(shared).cast("q") as results:
        for at in range(len(calls)):
            results[at] = NOT_MADE
        pid = os.fork()
        if pid == 0:
            _be_child(request, combination, target, results)
        os.waitpid(pid, 0)
        return list(results)


def _be_child(
    request: Mapping[str, Any], combination: Mapping[str, Any], target: int, results: memoryview
) -> None:
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        ready = [
            (number, arguments(name, target, request["device"]))
            for name, number in request["calls"]
        ]
        _put_on(combination)
        for at, (number, values) in enumerate(ready):
            results[at] = sc.raw_call(number, values)[1]
    finally:
        os._exit(0)


def _put_on(combination: Mapping[str, Any]) -> None:
    if combination["own_user_namespace"]:
        sc.unshare(sc.CLONE_NEWUSER)
    filters: Sequence[bytes] = [bytes.fromhex(program) for program in combination["programs"]]
    if filters:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)  # before a privilege is missed that loading takes
    kept = int(combination["kept"])
    effective, permitted, _ = sc.capget()
    sc.capset(effective & kept, permitted & kept, 0)
    for program in filters:
        sc.seccomp_set_filter(program)
