"""What the course holds, read out of its notebooks: titles, questions, exercises, claims, lengths.

Nothing is listed twice by hand: a map, a table of contents or a table of corrections that is made
from here cannot drift from the notebooks.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport.figure.table import PlainTable

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WORDS_PER_MINUTE = 180  # of a technical text, read in order to understand it

_QUESTION = re.compile(
    r"""\b(?:predict\(\s*|question = )(["'])(?P<text>(?:\\.|(?!\1).)*)\1""", re.DOTALL
)
_EXERCISE = re.compile(r"""Exercise\.of\(\s*["'](?P<name>\d\d\.\d+)["']""")


@dataclass(frozen=True)
class Chapter:
    """One notebook: its number ("02"), title, the question it asks, and what is in it.

    `corrections` and `beliefs` map the id of a cell to what it corrects: words of a slide, or what
    people often believe.
    `minutes` is what the notebook promises, `reading_minutes` what reading its text alone takes.
    """

    number: str
    title: str
    asks: str
    file: str
    questions: tuple[str, ...]
    exercises: tuple[str, ...]
    corrections: Mapping[str, Mapping[str, str]]
    beliefs: Mapping[str, Mapping[str, str]]
    minutes: int | None
    reading_minutes: int


@functools.cache
def chapters() -> tuple[Chapter, ...]:
    """Read the notebooks, in order."""
    return tuple(_read(path) for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))


def _read(path: Path) -> Chapter:
    cells = json.loads(path.read_bytes())["cells"]
    prose = [_source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    sources = "\n".join(map(_source, code))
    heading = re.match(r"# (\d\d) · (.+)", prose[0])
    promised = re.search(r"About (?:an? )?(\d+|hour)", prose[0])
    return Chapter(
        number=heading[1] if heading else path.stem[:2],
        title=heading[2].strip() if heading else path.stem[3:],
        asks=next(iter(re.findall(r"^\*\*(.+)\*\*$", prose[0], re.MULTILINE)), ""),
        file=path.name,
        questions=tuple(
            re.sub(r"\\(.)", r"\1", found["text"]) for found in _QUESTION.finditer(sources)
        ),
        exercises=tuple(dict.fromkeys(found["name"] for found in _EXERCISE.finditer(sources))),
        corrections=_told(cells, "corrects"),
        beliefs=_told(cells, "believed"),
        minutes=int(promised[1].replace("hour", "60")) if promised else None,
        reading_minutes=max(1, round(len(" ".join(prose).split()) / WORDS_PER_MINUTE)),
    )


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def _told(cells: list[dict[str, Any]], what: str) -> dict[str, dict[str, str]]:
    """Find cells with the metadata {"lab": {`what`: {"claim": …, "fact": …}}}."""
    labs = {cell["id"]: cell["metadata"].get("lab", {}) for cell in cells}
    return {cell: lab[what] for cell, lab in labs.items() if what in lab}


# What the course corrects, what is so, and the cell that shows it.


def corrections() -> PlainTable:
    """Return a row for each correction of a slide, in the order of the course, linked to its cell.

    The slide's words are those in data/lecture.txt; a test holds them against each other.
    """
    said = {"slide": "the slide says", "heading": "under the heading"}
    return _table([each.corrections for each in chapters()], said, "simplified")


def beliefs() -> PlainTable:
    """Return a row for each thing that no slide says, but people often believe."""
    told = [each.beliefs for each in chapters()]
    return _table(told, {"belief": "often believed"}, "often believed")


def _table(
    told: Sequence[Mapping[str, Mapping[str, str]]], said: Mapping[str, str], finding: str
) -> PlainTable:
    rows, links = [], []
    for chapter, cells in zip(chapters(), told, strict=True):
        for cell, words in cells.items():
            quoted = (words.get(key, "").replace("*", "") for key in said)  # a slide's emphasis
            shown = f"{chapter.number}, `{cell}`"
            rows.append((words["claim"], *quoted, words["fact"], shown))
            links.append(f"{chapter.file}#cell-id={cell}")  # as JupyterLab reads it
    notebooks = len({link.partition("#")[0] for link in links})
    return PlainTable(
        f"{len(rows)} things {finding}, and what {notebooks} notebooks show instead",
        ("claim", *said.values(), "what is so", "shown in cell"),
        tuple(rows), tuple(links),
    )  # fmt: skip
