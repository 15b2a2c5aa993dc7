"""The corrections: what the slides simplify, what is so, and the cell of the course that shows it.

They are read out of the notebooks' cells, so that they cannot drift from them.
"""

from __future__ import annotations

from labsupport.course.catalogue import chapters
from labsupport.views.plain_table import PlainTable


def corrections() -> PlainTable:
    """Return a row for each correction, in the order of the course, linked to its notebook."""
    rows, links = [], []
    for chapter in chapters():
        for cell, told in chapter.corrections.items():
            rows.append((told["claim"], told["slide"], told["fact"], f"{chapter.number}, `{cell}`"))
            links.append(f"{chapter.file}#cell-id={cell}")  # as JupyterLab reads it
    notebooks = len({link.partition("#")[0] for link in links})
    return PlainTable(
        f"{len(rows)} simplifications of the slides, corrected in {notebooks} notebooks",
        ("claim", "the slide says", "the kernel or the engine says", "shown in cell"),
        tuple(rows), tuple(links),
    )  # fmt: skip
