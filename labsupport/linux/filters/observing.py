"""Which system calls does a program make? It is run, and the kernel asks us about each of them.

What is recorded is one run: a filter that allows just these may be too strict for another one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport import trace
from labsupport.completed import Completed
from labsupport.errors import ProgramNotFound, TimedOut, TrialFailed
from labsupport.linux.filters import recorder
from labsupport.linux.filters.syscall_table import names


@dataclass(frozen=True)
class Observed:
    """The system calls of one run of a program, its children's included.

    `counts` maps a name to how often it was called, in the order of first use; `completed` is what
    the program printed and how it ended.
    """

    counts: Mapping[str, int]
    completed: Completed

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of their first use: execve, which starts it, is the first."""
        return tuple(self.counts)

    def __repr__(self) -> str:
        total = sum(self.counts.values())
        program = trace.command(self.completed.argv)
        return f"<{program}: {len(self.counts)} different system calls, {total} in all>"


def record(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    input: str = "",  # noqa: A002 (subprocess.run calls it so)
    timeout: float = 60,
) -> Observed:
    """Run a program and note its system calls. It runs with no_new_privs, as under any filter.

    Raises:
        ProgramNotFound: there is no such program.
        TimedOut: it ran longer than `timeout` seconds, and was ended.
        TrialFailed: no filter can be loaded here.

    """
    words = [os.fspath(word) for word in argv]
    program = shutil.which(words[0], path=(env or os.environ).get("PATH"))
    if program is None:
        raise ProgramNotFound(f"there is no program {words[0]!r}", "", "see $PATH")
    began = time.monotonic()
    with tempfile.TemporaryFile() as result:
        helper = [sys.executable, "-I", "-S", "-c", recorder.PROGRAM]
        helper += [str(Path(__file__).parents[3]), str(result.fileno()), str(timeout)]
        done = subprocess.run(
            [*helper, program, *words[1:]], env=env, cwd=cwd, input=input, capture_output=True,
            text=True, errors="replace", pass_fds=[result.fileno()], check=False,
        )  # fmt: skip
        result.seek(0)
        facts = _facts(result.read(), done.stderr, words)
    completed = Completed(
        tuple(words), done.stdout, done.stderr, facts["status"], time.monotonic() - began
    )
    known = names()
    counts = {known.get(n, f"system call {n}"): count for n, count in facts["counts"]}
    return Observed(counts, completed)


def _facts(raw: bytes, complaint: str, argv: Sequence[str]) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(raw) if raw else {}
    if "error" in facts:
        why = os.strerror(facts["error"])
        raise TrialFailed("no seccomp filter can be loaded here", why)
    if not facts:
        last = complaint.strip().splitlines() or ["it said nothing"]
        raise TrialFailed("the program could not be observed", last[-1])
    if "timed_out" in facts:
        raise TimedOut(f"{trace.command(argv)} has not ended", "", "give it more time: timeout=")
    return facts
