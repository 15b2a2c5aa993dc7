"""Seccomp filters: build them, read out what a live process runs under, judge every system call.

A filter is never loaded into the notebook's own process: it could not be taken off again, and one
that is too strict would end it. `Sandbox(filter=...)` loads it into what runs inside.
"""

from __future__ import annotations

import errno as errors
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn

from labsupport.errors import FilterOnNotebook, FilterRefused, UnknownErrno
from labsupport.linux.filters import bpf, libseccomp
from labsupport.linux.filters.agreement import Agreement, compare
from labsupport.linux.filters.bpf import Instruction
from labsupport.linux.filters.filter_reading import read_filters
from labsupport.linux.filters.libseccomp import Rule
from labsupport.linux.filters.syscall_table import BYPASS_SECCOMP, number_of, numbers
from labsupport.linux.filters.verdicts import Verdict, action_of, judge, said


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
    def deny(cls, names: Iterable[str], errno: str = "EPERM") -> Filter:
        """Refuse these system calls and allow all others; `errno` may also be "kill".

        Raises:
            UnknownSystemCall, UnknownErrno: there is none of that name; with the nearest.
            LibraryMissing: libseccomp is not installed.

        """
        wanted = _each(names)
        rules = [Rule(_refusal(errno), number_of(name)) for name in wanted]
        words = f"deny {_listed(wanted)} with {errno}" if errno != "kill" else f"kill at {wanted}"
        return cls((libseccomp.build(libseccomp.SCMP_ACT_ALLOW, rules),), words)

    @classmethod
    def allow(cls, names: Iterable[str], otherwise: str = "EPERM") -> Filter:
        """Allow these system calls, and refuse all others with an errno, or "kill" who makes them.

        Errors as for `deny`.
        """
        wanted = _each(names)
        rules = [Rule(libseccomp.SCMP_ACT_ALLOW, number_of(name)) for name in wanted]
        what = f"allow {_listed(wanted)}, otherwise {otherwise}"
        return cls((libseccomp.build(_refusal(otherwise), rules),), what)

    @classmethod
    def of(cls, pid: int) -> Filter:
        """Read out the filters that a live process runs under; none means it is not filtered.

        Raises:
            FilterUnreadable: it takes CAP_SYS_ADMIN in the initial user namespace, and more; the
                message says what is lacking.
            ProcessGone: there is no such process (any more).

        """
        return cls(read_filters(pid), f"what process {pid} runs under")

    @property
    def program(self) -> bytes:
        """The only program, ready for loading.

        Raises:
            FilterRefused: there is not exactly one; see `programs`.

        """
        if len(self.programs) != 1:
            raise FilterRefused(
                f"there are {len(self.programs)} filters, not one", "", "use .programs"
            )
        return self.programs[0]

    @cached_property
    def _decoded(self) -> tuple[tuple[Instruction, ...], ...]:
        return tuple(map(bpf.decode, self.programs))

    def instructions(self) -> list[str]:
        """Write the programs down, an instruction a line."""
        return [line for program in self._decoded for line in _explained(program)]

    def verdicts(self) -> list[Verdict]:
        """Judge every system call of this kernel, in the order of their numbers."""
        return [self.verdict(name) for name in numbers() if name not in BYPASS_SECCOMP]

    def verdict(self, name: str) -> Verdict:
        """Judge one system call.

        Raises:
            UnknownSystemCall: there is none of that name; with the nearest.

        """
        return judge(self._decoded, number_of(name))

    def count(self) -> Counter[str]:
        """Count the verdicts by kind: "allowed", "denied" and "depends" (on arguments)."""
        return Counter(verdict.kind for verdict in self.verdicts())

    def load(self) -> NoReturn:
        """Refuse: filters are loaded into children only, by `Sandbox(filter=...)`.

        Raises:
            FilterOnNotebook: always.

        """
        raise FilterOnNotebook

    def agreement(self) -> Agreement:
        """Try every call in a child under these filters, and compare with what they read.

        Nothing is really done by it: our own filter stands behind these, and lets nothing pass.

        Raises:
            TrialFailed: the helper process failed.

        """
        return compare(self.programs)

    def __repr__(self) -> str:
        lengths = [len(program) // bpf.INSTRUCTION.size for program in self.programs]
        size = " + ".join(map(str, lengths)) + " instructions" if lengths else "no filter"
        return f"<Filter: {self.what}: {size}>"


def _explained(program: Sequence[Instruction]) -> list[str]:
    lines = bpf.listing(program)
    return [
        f"{line}  {said(*action_of(each.k))}" if each.code == bpf.RET | bpf.K else line
        for line, each in zip(lines, program, strict=True)
    ]


def _each(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([names] if isinstance(names, str) else names))


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names) or "nothing"
    return f"{', '.join(names[:3])} and {len(names) - 3} more"


def _refusal(word: str) -> int:
    if word == "kill":
        return libseccomp.SCMP_ACT_KILL_PROCESS
    known = {name: number for number, name in errors.errorcode.items()}
    if word not in known:
        raise UnknownErrno(word, known)
    return libseccomp.act_errno(known[word])
