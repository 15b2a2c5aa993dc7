"""Can a system call be filtered, and can a live process's filter be read? seccomp(2), ptrace(2)."""

from __future__ import annotations

import os
import signal
import struct
from errno import EPERM

from labsupport.linux import syscalls as sc
from labsupport.probes.children import Refused, step

READ_FILTER = "reading the filter of a live process"

# linux/bpf_common.h and linux/seccomp.h
_LD_W_ABS, _JEQ, _RET = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

# getpgid(2): it never fails by itself when asked about the caller
_NR_GETPGID = {"x86_64": 121, "aarch64": 155}


def _deny_getpgid() -> None:
    number = _NR_GETPGID.get(os.uname().machine)
    if number is None:
        raise Refused(f"the probe has no system call numbers for {os.uname().machine}")
    program = [(_LD_W_ABS, 0, 0, 0), (_JEQ, 0, 1, number), (_RET, 0, 0, _ERRNO | EPERM)]
    program.append((_RET, 0, 0, _ALLOW))
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    with step("loading a seccomp filter"):
        sc.seccomp_set_filter(b"".join(struct.pack("HBBI", *line) for line in program))


def seccomp() -> str:
    """A filter that denies one call, and the call then really fails."""
    _deny_getpgid()
    try:
        os.getpgid(0)
    except PermissionError:
        return "a filter denied a call"
    raise Refused("a seccomp filter was loaded, but the call it denies succeeded")


def read() -> str:
    """The instructions of a filter that another process runs under."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _wait_under_a_filter(tell)
    os.close(tell)
    try:
        if not os.read(ready, 1):
            raise Refused("a child could not load a seccomp filter, so there is none to read")
        with step("attaching to a child with ptrace"):
            sc.ptrace(sc.PTRACE_SEIZE, pid)
            sc.ptrace(sc.PTRACE_INTERRUPT, pid)
        os.waitpid(pid, 0)
        with step(READ_FILTER):
            count = sc.ptrace(sc.PTRACE_SECCOMP_GET_FILTER, pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return f"read back {count} instructions"


def _wait_under_a_filter(tell: int) -> None:
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        _deny_getpgid()
        os.write(tell, b"1")
        signal.pause()
    finally:
        os._exit(1)


PROBES = {"seccomp": seccomp, "seccomp.read": read}
