"""Which system calls does a program make? It is run, and the kernel asks us about each of them.

What is recorded is one run: a filter that allows just these may be too strict for another one.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labsupport import trace
from labsupport.errors import LabError, ProgramNotFound, TimedOut
from labsupport.ownership import marks
from labsupport.seccomp.syscall_table import names
from labsupport.seccomp.verdicts import PROBER, understood
from labsupport.trace import Completed


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


def record(argv: str | Sequence[str], *, timeout: float = 60) -> Observed:
    """Run a program and note its system calls. It runs with no_new_privs, as under any filter.

    A text is a line for a shell, as for `Sandbox.run`; the shell's calls are noted, too.

    Raises `ProgramNotFound`: there is no such program; `TimedOut`: it ran longer than `timeout`
    seconds, and was ended; `LabError`: no filter can be loaded here, or there is no program to run.
    """
    if not argv:
        raise LabError("there is no program to run", "the list is empty", 'record(["ls"])')
    argv = ["sh", "-c", argv] if isinstance(argv, str) else argv
    program = shutil.which(argv[0])
    if program is None:
        raise ProgramNotFound(f"there is no program {argv[0]!r}", "", "see $PATH")
    began = time.monotonic()
    with tempfile.TemporaryFile() as result:
        options = (str(result.fileno()), str(timeout), program, *argv[1:])
        with subprocess.Popen(
            marks.lean(PROBER, "record", *options), stdin=subprocess.DEVNULL, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[result.fileno()],
        ) as observer:  # fmt: skip
            try:
                output, errors = observer.communicate()
            except BaseException:  # an interrupt
                observer.terminate()  # it ends all that it has started
                raise
        seconds = time.monotonic() - began
        result.seek(0)
        answer = result.read().decode()
    facts = understood(answer, errors, "the program could not be observed")
    if "timed_out" in facts:
        raise TimedOut(f"{trace.command(argv)} has not ended", "", "give it more time: timeout=")
    completed = Completed(tuple(argv), output, errors, facts["status"], seconds)
    known = names()
    counts = {known.get(n, f"system call {n}"): count for n, count in facts["counts"]}
    return Observed(counts, completed)
