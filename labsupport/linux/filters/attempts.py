"""Try system calls under filters, as the second way beside reading the filters.

The trying is done by a helper process, `labsupport.linux.filters.prober`; no call is really made.
"""

from __future__ import annotations

import errno as errors
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import TrialFailed
from labsupport.linux.filters import prober
from labsupport.linux.filters.notifications import MARK
from labsupport.linux.filters.syscall_table import BYPASS_SECCOMP, names

SECONDS = 60
Call = tuple[int, tuple[int, ...]]
"""A system call's number and its first five arguments; the sixth is our mark."""


@dataclass(frozen=True)
class Trial:
    """What really happened to a call.

    `action` is "allow" (the filters let it pass), "errno", "kill" or "trap"; `errno` is a name such
    as "EPERM".
    """

    number: int
    name: str
    arguments: tuple[int, ...]
    action: str
    errno: str | None = None


def every_call() -> list[Call]:
    """Each system call of this kernel, with arguments that are all 0.

    Without two: uprobe and uretprobe ignore filters, and end a process that makes them unasked.
    """
    return [(n, (0,) * 5) for n, name in names().items() if name not in BYPASS_SECCOMP]


def try_calls(programs: Iterable[bytes], calls: Sequence[Call]) -> list[Trial]:
    """Try calls in a child under filters, oldest first.

    Raises:
        TrialFailed: the helper process failed, for instance since filters are forbidden to us.

    """
    request = {"programs": [program.hex() for program in programs], "calls": calls}
    done = subprocess.run(
        command(), input=json.dumps(request), capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    return trials(calls, done.stdout, done.stderr)


def command() -> list[str]:
    """The helper's command line; it reads a request and writes outcomes, both JSON."""
    home = str(Path(__file__).parents[3])
    return [sys.executable, "-I", "-S", "-c", prober.PROGRAM, home]


def trials(calls: Sequence[Call], answer: str, complaint: str = "") -> list[Trial]:
    """Say what a helper's answer means."""
    if not answer:
        said = complaint.strip().splitlines() or ["it said nothing"]
        raise TrialFailed("system calls could not be tried", said[-1])
    return [
        Trial(number, names().get(number, f"system call {number}"), arguments, *_meaning(outcome))
        for (number, arguments), outcome in zip(calls, json.loads(answer), strict=True)
    ]


def arguments_of(trial: Trial) -> tuple[int, ...]:
    """All six arguments, the mark included, as the filters saw them."""
    return (*trial.arguments, MARK)


def _meaning(outcome: int) -> tuple[str, str | None]:
    words = {prober.PASSED: "allow", prober.KILLED: "kill", prober.TRAPPED: "trap"}
    if outcome in words:
        return words[outcome], None
    number = max(outcome, 0)
    return "errno", errors.errorcode.get(number, f"errno {number}")
