"""What the student has done: guesses made and exercises tried, in one small file of their own.

A line of JSON is added for each event and nothing is ever changed, so that two notebooks, or a
notebook in the Lab VM and one on the machine, may write at the same time (open(2), `O_APPEND`).
The file is next to the notebooks, in the folder that the Lab VM shares; `LAB_PROGRESS` names
another one. No name, no address, no machine is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.errors import ProgressNotKept, ProgressUnreadable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

VARIABLE = "LAB_PROGRESS"
FILE = "my_progress.jsonl"
EXERCISE, PREDICTION = "exercise", "prediction"
LONGEST_TEXT = 100_000  # characters of a cell or a verdict that are kept


@dataclass(frozen=True)
class Event:
    """One thing that was done: `kind` is "exercise" or "prediction", `at` an ISO 8601 time (UTC).

    `facts` of an exercise: name, seed, passed, saw, answer, hints, solution_shown. Of a prediction:
    question, guess, measured, met (None if no guess was made).
    """

    kind: str
    at: str
    facts: Mapping[str, Any]


def file() -> Path:
    """Return where the student's progress is kept."""
    return Path(os.environ.get(VARIABLE) or FILE).absolute()


def note(kind: str, **facts: Any) -> None:
    """Add an event. Raises `ProgressNotKept` if the file cannot be written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"kind": kind, "at": now, **{k: _short(v) for k, v in facts.items()}})
    try:
        descriptor = os.open(file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        why = f"{file().name} cannot be written: {error.strerror}"
        remedy = f"let {VARIABLE} name a file that you may write, and restart the kernel"
        raise ProgressNotKept("your progress cannot be kept", why, remedy) from error


def events() -> list[Event]:
    """Return all events, the oldest first; none if nothing has been done yet.

    Raises `ProgressUnreadable`, which names the line, if the file holds something else.
    """
    try:
        text = file().read_text()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            facts = json.loads(line)
            found.append(Event(facts.pop("kind"), facts.pop("at"), facts))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            why = f"line {number} of {file().name} is not an event: {line[:60]!r}"
            remedy = f"remove that line, or move {file().name} away to begin again"
            raise ProgressUnreadable("your progress cannot be read", why, remedy) from error
    return found


def _short(value: Any) -> Any:
    """Cut long texts; what JSON does not know becomes its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_short(each) for each in value]
    home = str(Path.home())
    text = str(value) if home == "/" else str(value).replace(home, "~")  # a name may be in it
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


# The cells that a student has run, as written: an exercise keeps those that solved it. They are
# noted in memory only, so that a teacher can run an answer once more (`./lab recheck`).

_cells: list[str] = []


def load(shell: InteractiveShell) -> None:
    """Note each cell from now on; loading twice does it once."""
    if _noted not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _noted)


def here() -> int:
    """Return the place in the list of cells: the running one is the last."""
    return len(_cells)


def since(place: int) -> list[str]:
    """Return the cells that were run after a place and before the running one."""
    return [source.strip() for source in _cells[place:-1]]


def _noted(info: Any) -> None:
    _cells.append(info.raw_cell)
