"""Read out the seccomp filters of a live process: PTRACE_SECCOMP_GET_FILTER in ptrace(2).

The kernel keeps each filter as it was loaded, for checkpoint and restore. The process is stopped
for the moment of reading, and goes on afterwards; a call that it was waiting in may return EINTR.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labsupport.errors import FilterUnreadable, ProcessGone
from labsupport.linux import syscalls as sc
from labsupport.linux.procfs import status_fields

STOP_SECONDS = 3.0
_WALL = 0x40000000  # linux/wait.h: whatever kind of child it is
_IN_VM = 'choose the kernel "Lab VM" for this notebook: there you are root in the initial namespace'


def read_filters(pid: int) -> tuple[bytes, ...]:
    """Return the programs, oldest first; none if the process is not filtered.

    Raises:
        FilterUnreadable: see the message: privileges, a filter of our own, a kernel without it.
        ProcessGone: there is no such process (any more).

    """
    status = status_fields(pid)
    mode = status["Seccomp"]
    if mode == "0":
        return ()
    if mode == "1":
        raise FilterUnreadable(
            f"process {pid} has no filter to read", "it is in strict mode: read, write, exit only"
        )
    count = int(status["Seccomp_filters"])
    with _stopped(pid):
        try:
            return tuple(sc.seccomp_get_filter(pid, index) for index in range(count))
        except OSError as error:
            raise _unreadable(pid, error) from error


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    try:
        sc.ptrace(sc.PTRACE_SEIZE, pid)
    except OSError as error:
        raise _unreadable(pid, error) from error
    try:
        sc.ptrace(sc.PTRACE_INTERRUPT, pid)
        _await_stop(pid)
        yield
    finally:
        _let_go(pid)


def _await_stop(pid: int) -> None:
    until = time.monotonic() + STOP_SECONDS
    look = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG | _WALL  # nobody's end is taken away
    while True:
        seen = os.waitid(os.P_PID, pid, look)
        if seen is not None:
            if seen.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
                raise ProcessGone(f"process {pid} ended while its filter was being read")
            return
        if time.monotonic() > until:
            raise FilterUnreadable(
                f"process {pid} did not stop", f"it was given {STOP_SECONDS:g} seconds"
            )
        time.sleep(0.0005)


def _let_go(pid: int) -> None:
    try:
        sc.ptrace(sc.PTRACE_DETACH, pid)
    except ProcessLookupError:  # it has ended, or has not stopped: the kernel detaches with us
        return


def _unreadable(pid: int, error: OSError) -> FilterUnreadable | ProcessGone:
    if error.errno == errno.ESRCH:
        return ProcessGone(f"process {pid} cannot be read", "it has ended, or never was")
    what = f"the filter of process {pid} cannot be read"
    if error.errno == errno.EIO:
        return FilterUnreadable(
            what, "this kernel was built without CONFIG_CHECKPOINT_RESTORE", _IN_VM
        )
    if error.errno == errno.EMEDIUMTYPE:
        return FilterUnreadable(what, "the kernel has not kept the program it was loaded as")
    if status_fields()["Seccomp"] != "0":
        return FilterUnreadable(
            what, "we are under a seccomp filter ourselves, and the kernel shows it to none such",
            _IN_VM,
        )  # fmt: skip
    if os.geteuid() == 0 and status_fields(pid)["TracerPid"] not in ("0", str(os.getpid())):
        return FilterUnreadable(what, "another program traces it already", "end that one first")
    why = (
        f"{os.strerror(error.errno or 0)}: it takes CAP_SYS_ADMIN in the initial user namespace, "
        "which root has on the machine itself, but not in a container or user namespace"
    )
    return FilterUnreadable(what, why, f"be root on the machine, or {_IN_VM}")
