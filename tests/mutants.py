"""Ways to break labsupport on purpose: each must turn its notebook red, or that only prints.

A mutant is Python that runs in the notebook's kernel before its first cell (as an IPython startup
file of a private profile). Write it against the public names of the module that it breaks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.toys import run_nbval, verdicts


class Mutant(NamedTuple):
    """What is broken, in words, and the code that breaks it."""

    broken: str
    code: str


MUTANTS: Mapping[str, Sequence[Mutant]] = {}


class MutantNotApplied(AssertionError):
    """The code that should break a helper failed itself, so it proves nothing."""


def is_caught(notebook: Path, code: str, scratch: Path) -> bool:
    """Run a notebook with a helper broken by `code`: tell whether one of its cells fails.

    The run stops at the first failure, and a cell that hangs for half a minute is one.
    """
    startup = scratch / "profile_default" / "startup"
    startup.mkdir(parents=True)
    applied, report = scratch / "applied", scratch / "report.xml"
    (startup / "00-mutant.py").write_text(f"{code}\nopen({str(applied)!r}, 'w').close()\n")
    run = run_nbval(
        notebook,
        report=report,
        arguments=["--exitfirst", "--nbval-cell-timeout=30"],
        env={"IPYTHONDIR": str(scratch)},
    )
    if not applied.exists():
        raise MutantNotApplied(f"this did not run to its end:\n{code}\n{run.stdout}")
    return any(test.outcome == "failed" for test in verdicts(report)[notebook.stem])
