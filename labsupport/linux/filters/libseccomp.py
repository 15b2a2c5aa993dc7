"""Building filters with libseccomp, by ctypes: the few calls we need; seccomp_init(3).

libseccomp's own Python binding exists only for a distribution's Python, and what there is for
others has not been released for years. The rest of our ctypes is in `labsupport.linux.syscalls`;
this is apart because its library may be missing.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int, c_uint, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass

from labsupport.errors import FilterRefused, LibraryMissing

# seccomp.h
SCMP_ACT_KILL_PROCESS = 0x80000000
SCMP_ACT_LOG = 0x7FFC0000
SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_CMP_NE = 1
SCMP_CMP_EQ = 4
SCMP_CMP_GT = 6
SCMP_CMP_MASKED_EQ = 7


def act_errno(number: int) -> int:
    """SCMP_ACT_ERRNO: the call fails with this error, and is not made."""
    return 0x00050000 | number


class ArgCmp(ctypes.Structure):
    """`struct scmp_arg_cmp`: which argument is compared, how, and with what."""

    _fields_ = [("arg", c_uint), ("op", c_int), ("datum_a", c_uint64), ("datum_b", c_uint64)]


@dataclass(frozen=True)
class Rule:
    """An action for a system call, if all conditions (argument, comparison, values) hold."""

    action: int
    number: int
    conditions: tuple[tuple[int, ...], ...] = ()


def build(default: int, rules: Sequence[Rule]) -> bytes:
    """Return the filter as an array of `struct sock_filter` for this architecture.

    Raises:
        LibraryMissing: libseccomp is not installed.
        FilterRefused: libseccomp takes no such rule.

    """
    library = _library()
    with _context(library, default) as context:
        for rule in rules:
            comparisons = (ArgCmp * len(rule.conditions))(*map(_comparison, rule.conditions))
            code = library.seccomp_rule_add_array(
                context, rule.action, rule.number, len(rule.conditions), comparisons
            )
            _check(code, f"the rule for system call {rule.number} was not taken")
        return _exported(library, context)


def _comparison(condition: tuple[int, ...]) -> ArgCmp:
    return ArgCmp(*condition)


@contextmanager
def _context(library: ctypes.CDLL, default: int) -> Iterator[c_void_p]:
    context = c_void_p(library.seccomp_init(default))
    if not context:
        raise FilterRefused("libseccomp starts no filter", f"the action {default:#x} is none")
    try:
        yield context
    finally:
        library.seccomp_release(context)


def _exported(library: ctypes.CDLL, context: c_void_p) -> bytes:
    fd = os.memfd_create("seccomp filter")
    try:
        _check(library.seccomp_export_bpf(context, fd), "the filter was not written")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _check(code: int, what: str) -> None:
    if code < 0:
        raise FilterRefused(what, f"libseccomp says: {os.strerror(-code)}")


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise LibraryMissing("libseccomp.so.2", "libseccomp2") from None
    library.seccomp_init.argtypes = (c_uint32,)
    library.seccomp_init.restype = c_void_p
    library.seccomp_release.argtypes = (c_void_p,)
    library.seccomp_release.restype = None
    library.seccomp_rule_add_array.argtypes = (c_void_p, c_uint32, c_int, c_uint, c_void_p)
    library.seccomp_export_bpf.argtypes = (c_void_p, c_int)
    return library
