"""Small notebooks made on the spot, and a run of nbval over them, with our rules."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import v4

CHECKOUT = Path(__file__).resolve().parents[1]
WITHOUT_HYPOTHESIS = ("-p", "no:hypothesispytest")  # half a second of each start
NBVAL = (*WITHOUT_HYPOTHESIS, "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300")


def code(source: str, *, tags: Iterable[str] = (), count: int | None = 1, printed: str = ""):
    """Return a code cell, saved as run (`count`) and as having printed something."""
    outputs = [v4.new_output("stream", name="stdout", text=printed)] if printed else []
    return v4.new_code_cell(
        source, execution_count=count, outputs=outputs, metadata={"tags": list(tags)}
    )


def write_notebook(path: Path, *cells) -> Path:
    """Write a notebook of these cells; a plain string is a code cell."""
    cells = [code(cell) if isinstance(cell, str) else cell for cell in cells]
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


def stand_in(program: Path, text: str) -> Path:
    """Write a program that stands in for another: the lines of a shell, or a whole file."""
    program.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


@dataclass(frozen=True)
class Verdict:
    """What pytest said of one test: passed, failed or skipped, and why."""

    outcome: str
    message: str


def verdicts(junit: Path) -> dict[str, list[Verdict]]:
    """Read a junit report: for each notebook's (or module's) last name, its tests in order."""
    found: dict[str, list[Verdict]] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):
        bad = [child for child in case if child.tag in {"failure", "error", "skipped"}]
        outcome = (
            {"error": "failed", "failure": "failed"}.get(bad[0].tag, "skipped") if bad else "passed"
        )
        message = f"{bad[0].get('message')}\n{bad[0].text}" if bad else ""
        name = case.get("classname", "").removesuffix(".ipynb").rpartition(".")[2]
        found.setdefault(name, []).append(Verdict(outcome, message))
    return found


def run_nbval(
    *notebooks: Path,
    report: Path,
    arguments: Iterable[str] = (),
    env: Mapping[str, str] = {},
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run notebooks as `./lab test` does, but let every cell be skipped that has a reason."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.notebooks", *NBVAL]
    argv += [f"--rootdir={notebooks[0].parent}", f"--junit-xml={report}", *arguments]
    return subprocess.run(
        [*argv, *map(str, notebooks)], env={**os.environ, "LAB_MUST_HAVE": "", **env},
        cwd=CHECKOUT, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
