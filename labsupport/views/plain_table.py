"""A plain table of words for a cell: a caption that says the finding, headings, rows."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


def marked(text: str) -> str:
    """Write text as HTML, with what stands between back-quotes as code."""
    return re.sub(r"`([^`]+)`", _code, html.escape(text))


def _code(found: re.Match[str]) -> str:
    # a short name is not broken at its hyphen
    style = " style='white-space:nowrap'" if len(found[1]) < 12 else ""
    return f"<code{style}>{found[1]}</code>"


@dataclass(frozen=True)
class PlainTable:
    """`rows` are texts; what stands between back-quotes in them is code. The first column names."""

    finding: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...] = ()
    """A page for each row, which its first cell links to; "" for none."""

    def __repr__(self) -> str:
        lines = [self.finding, " | ".join(self.head)]
        return "\n".join([*lines, *(" | ".join(row) for row in self.rows)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col' {_LEFT}>{html.escape(word)}</th>" for word in self.head)
        body = "".join(f"<tr>{self._row(number, row)}</tr>" for number, row in enumerate(self.rows))
        return (
            f"<table style='font-size:1em'><caption style='text-align:left;color:inherit;"
            f"font-weight:bold'>{html.escape(self.finding)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _row(self, number: int, row: Sequence[str]) -> str:
        name, *others = map(marked, row)
        if number < len(self.links) and self.links[number]:
            name = f"<a href='{html.escape(self.links[number])}'>{name}</a>"
        cells = "".join(f"<td {_LEFT}>{cell}</td>" for cell in others)
        return f"<th scope='row' {_LEFT}>{name}</th>{cells}"


_LEFT = "style='text-align:left;vertical-align:top'"
