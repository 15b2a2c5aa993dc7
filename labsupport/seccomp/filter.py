"""Seccomp filters: build them, read out what a live process runs under, judge every system call.

They are built by libseccomp; seccomp_init(3). Its own Python binding exists only for a
distribution's Python, so its few calls are here by ctypes. A filter is never loaded into the
notebook's own process: it could not be taken off again, and one that is too strict would end it.
`Sandbox(filter=...)` loads it into what runs inside.
"""

from __future__ import annotations

import ctypes
import errno as errors
import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ctypes import c_int, c_uint, c_uint32, c_void_p
from dataclasses import dataclass, field

from labsupport.errors import LabError, ProcessGone
from labsupport.kernel import syscalls as sc
from labsupport.kernel.procfs import status_fields, tries
from labsupport.seccomp import bpf
from labsupport.seccomp.bpf import Instruction
from labsupport.seccomp.syscall_table import BYPASS_SECCOMP, number_of, numbers, unknown
from labsupport.seccomp.verdicts import Agreement, Verdict, answer_in_words, compare, judge

# seccomp.h
SCMP_ACT_KILL_PROCESS = 0x80000000
SCMP_ACT_ALLOW = 0x7FFF0000

STOP_SECONDS = 60.0
_WALL = 0x40000000  # linux/wait.h: whatever kind of child it is
_IN_VM = 'choose the kernel "Lab VM" for this notebook: there you are root in the initial namespace'


@dataclass(frozen=True)
class Filter:
    """One or several seccomp filters that hold together; seccomp(2).

    `programs` are what the kernel runs, oldest first, each an array of `struct sock_filter`. Of
    several answers the kernel follows the strictest. Without any, everything is allowed. `what`
    says in words where they come from.
    """

    programs: tuple[bytes, ...]
    what: str = field(default="a filter", compare=False)

    @classmethod
    def deny(cls, names: Iterable[str], errno: str | int = "EPERM") -> Filter:
        """Refuse these system calls and allow all others; `errno` may also be "kill".

        Raises `LabError`: there is no call or error of that name (the message names the nearest),
        or libseccomp is not installed.
        """
        wanted = _each(names)
        rules = {number_of(name): _refusal(errno) for name in wanted}
        words = f"deny {_listed(wanted)} with {errno}" if errno != "kill" else f"kill at {wanted}"
        return cls((build(SCMP_ACT_ALLOW, rules),), words)

    @classmethod
    def allow(cls, names: Iterable[str], otherwise: str | int = "EPERM") -> Filter:
        """Allow these system calls, and refuse all others with an errno, or "kill" their caller.

        Errors as for `deny`.
        """
        wanted = _each(names)
        rules = {number_of(name): SCMP_ACT_ALLOW for name in wanted}
        what = f"allow {_listed(wanted)}, otherwise {otherwise}"
        return cls((build(_refusal(otherwise), rules),), what)

    @classmethod
    def of(cls, pid: int) -> Filter:
        """Read out the filters that a live process runs under; none means it is not filtered.

        Raises `LabError`: it needs CAP_SYS_ADMIN in the initial user namespace, and more; the
        message says what is lacking; `ProcessGone`: there is no such process (any more).
        """
        with ThreadPoolExecutor(1) as tracer:  # at a thread's end the kernel lets its tracees go
            return cls(tracer.submit(_read, pid).result(), f"what process {pid} runs under")

    @functools.cached_property
    def _decoded(self) -> tuple[tuple[Instruction, ...], ...]:
        return tuple(map(bpf.decode, self.programs))

    def instructions(self) -> list[str]:
        """Write the programs down, an instruction a line."""
        return [
            f"{line}  {answer_in_words(each.k)}" if each.code == bpf.RETURN else line
            for program in self._decoded
            for line, each in zip(bpf.listing(program), program, strict=True)
        ]

    def verdicts(self) -> list[Verdict]:
        """Judge every system call of this kernel, in the order of their numbers."""
        return [self.verdict(name) for name in numbers() if name not in BYPASS_SECCOMP]

    def verdict(self, name: str) -> Verdict:
        """Judge one system call; where there is none with that name, a LabError has the nearest."""
        return judge(self._decoded, number_of(name))

    def count(self) -> Counter[str]:
        """Count the verdicts by kind: "allowed", "denied" and "depends" (on arguments)."""
        return Counter(verdict.kind for verdict in self.verdicts())

    def show(self, who: str = "") -> None:
        """Show a square for each system call, and the names of those that are refused."""
        from labsupport.seccomp.pictures import Grid

        Grid(self.verdicts(), who or self.what).show()

    def agreement(self) -> Agreement:
        """Try every call in a child under these filters, and compare with what they read.

        Nothing is really done by it: our own filter stands behind these, and lets nothing pass.
        """
        return compare(self.programs)

    def __repr__(self) -> str:
        lengths = [len(program) // bpf.INSTRUCTION.size for program in self.programs]
        size = " + ".join(map(str, lengths)) + " instructions" if lengths else "no filter"
        return f"<Filter: {self.what}: {size}>"


def _each(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, [names] if isinstance(names, str | int) else names)))


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names) or "nothing"
    return f"{', '.join(names[:3])} and {len(names) - 3} more"


def _refusal(word: str | int) -> int:
    if word == "kill":
        return SCMP_ACT_KILL_PROCESS
    known = {key: number for number, name in errors.errorcode.items() for key in (name, number)}
    if word not in known:
        raise unknown("error", str(word), errors.errorcode.values(), "see errno(3) for the list")
    return act_errno(known[word])


def act_errno(number: int) -> int:
    """SCMP_ACT_ERRNO: the call fails with this error, and is not made."""
    return 0x00050000 | number


def build(default: int, actions: Mapping[int, int]) -> bytes:
    """Return a filter as an array of `struct sock_filter`: actions by system calls' numbers."""
    library = _library()
    context = c_void_p(library.seccomp_init(default))
    fd = os.memfd_create("seccomp filter")
    try:
        for number, action in actions.items():
            code = library.seccomp_rule_add_array(context, action, number, 0, None)
            _check(code, f"the rule for system call {number} was not taken")
        _check(library.seccomp_export_bpf(context, fd), "the filter was not written")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
        library.seccomp_release(context)


def _check(code: int, what: str) -> None:
    if code < 0:
        raise LabError(what, f"libseccomp says: {os.strerror(-code)}")


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        what = "the library libseccomp.so.2 is missing"
        raise LabError(what, "", "sudo apt-get install libseccomp2") from None
    library.seccomp_init.argtypes = (c_uint32,)
    library.seccomp_init.restype = c_void_p
    library.seccomp_release.argtypes = (c_void_p,)
    library.seccomp_release.restype = None
    library.seccomp_rule_add_array.argtypes = (c_void_p, c_uint32, c_int, c_uint, c_void_p)
    library.seccomp_export_bpf.argtypes = (c_void_p, c_int)
    return library


def _read(pid: int) -> tuple[bytes, ...]:
    """Return the programs that a process runs under, oldest first.

    The kernel keeps each filter as it was loaded, for checkpoint and restore; see
    PTRACE_SECCOMP_GET_FILTER in ptrace(2). The process is stopped for the moment of reading; a call
    that it was waiting in may return EINTR.
    """
    status = status_fields(pid)
    mode = status["Seccomp"]
    if mode == "0":
        return ()
    if mode == "1":
        why = "it is in strict mode: read, write, exit only"
        raise LabError(f"process {pid} has no filter to read", why)
    try:
        sc.ptrace(sc.PTRACE_SEIZE, pid)
        try:
            sc.ptrace(sc.PTRACE_INTERRUPT, pid)
            _await_stop(pid)
            count = int(status["Seccomp_filters"])
            return tuple(sc.seccomp_get_filter(pid, index) for index in range(count))
        finally:
            with suppress(ProcessLookupError):  # it has ended, or has not stopped
                sc.ptrace(sc.PTRACE_DETACH, pid)
    except OSError as error:
        raise _unreadable(pid, error) from error


def _await_stop(pid: int) -> None:
    look = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG | _WALL  # nobody's end is taken away
    for _ in tries(STOP_SECONDS, 0.0005):
        if seen := os.waitid(os.P_PID, pid, look):
            break
    else:
        raise LabError(f"process {pid} did not stop", f"it was given {STOP_SECONDS:g} seconds")
    if seen.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
        raise ProcessGone(f"process {pid} ended while its filter was being read")


def _unreadable(pid: int, error: OSError) -> LabError:
    if error.errno == errors.ESRCH:
        return ProcessGone(f"process {pid} cannot be read", "it has ended, or never existed")
    what = f"the filter of process {pid} cannot be read"
    if error.errno == errors.EIO:
        return LabError(what, "this kernel was built without CONFIG_CHECKPOINT_RESTORE", _IN_VM)
    if status_fields()["Seccomp"] != "0":
        why = "we are under a seccomp filter ourselves, and the kernel then shows none"
        return LabError(what, why, _IN_VM)
    if os.geteuid() == 0 and status_fields(pid)["TracerPid"] not in ("0", str(os.getpid())):
        return LabError(what, "another program traces it already", "end that one first")
    why = (
        f"{os.strerror(error.errno or 0)}: it needs CAP_SYS_ADMIN in the initial user namespace, "
        "which root has on the machine itself, but not in a container or user namespace"
    )
    return LabError(what, why, f"be root on the machine, or {_IN_VM}")
