"""Tables of words, for people and for screen readers: a caption, headings, rows.

`html_table(head, rows, caption)` writes one; `PlainTable(finding, head, rows)` is one that a cell
can end with. A cell is text, or `Markup`, which is HTML already (`code` and `marked` make it).
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

_CAPTION = "text-align:left;caption-side:top;color:inherit;font-weight:bold;min-width:{}em"
_LEFT = "text-align:left;vertical-align:top"


class Markup(str):
    """HTML, which is not escaped once more."""

    __slots__ = ()


def code(text: str) -> Markup:
    """Write text as HTML, as code."""
    return Markup(f"<code>{html.escape(text)}</code>")


def marked(text: str) -> Markup:
    """Write text as HTML, with what is between back-quotes as code."""
    return Markup(re.sub(r"`([^`]+)`", _code, html.escape(text)))


def _code(found: re.Match[str]) -> str:
    # a short name is not broken at its hyphen
    style = " style='white-space:nowrap'" if len(found[1]) < 12 else ""
    return f"<code{style}>{found[1]}</code>"


def html_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "", *, named: bool = True,
    looks: Sequence[str] = (),
) -> str:  # fmt: skip
    """Write a table as HTML, its words to the left.

    The first cell of a row names it, unless `named` is False. `looks` are CSS properties for each
    row ("" for none). Without a head there is no row of headings.
    """
    heading = "".join(f"<th scope='col' style='{_LEFT}'>{html.escape(word)}</th>" for word in head)
    top = f"<thead><tr>{heading}</tr></thead>" if head else ""
    look = _CAPTION.format(min(len(caption), 48) / 2)  # a question may be longer than its table
    title = f"<caption style='{look}'>{html.escape(caption)}</caption>" if caption else ""
    lines = zip_longest(rows, looks, fillvalue="")
    body = "".join(f"<tr>{_row(cells, named, look)}</tr>" for cells, look in lines)
    return f"<table style='font-size:1em;color:inherit'>{title}{top}<tbody>{body}</tbody></table>"


def _row(cells: Sequence[object], named: bool, look: str) -> str:
    style = f"style='{';'.join(filter(None, (_LEFT, look)))}'"
    texts = [cell if isinstance(cell, Markup) else html.escape(str(cell)) for cell in cells]
    parts = [f"<td {style}>{text}</td>" for text in texts]
    if named:
        parts[0] = f"<th scope='row' {style}>{texts[0]}</th>"
    return "".join(parts)


@dataclass(frozen=True)
class PlainTable:
    """`rows` are texts; what is between back-quotes in them is code. The first column names."""

    finding: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...] = ()
    """A page for each row, which its first cell links to; "" for none."""

    def __repr__(self) -> str:
        lines = [self.finding, " | ".join(self.head)]
        return "\n".join([*lines, *(" | ".join(row) for row in self.rows)])

    def _repr_html_(self) -> str:
        rows = [tuple(map(marked, row)) for row in self.rows]
        for number, link in enumerate(self.links):
            if link:
                name, *others = rows[number]
                name = Markup(f"<a href='{html.escape(link)}'>{name}</a>")
                rows[number] = (name, *others)
        return html_table(self.head, rows, self.finding)


class Tabled:
    """What a cell shows as its `table`."""

    @property
    def table(self) -> PlainTable:
        """What there is to show."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


# --- amounts of bytes as people write them, in powers of 1000 as `docker history` has them ------

UNITS = ("B", "kB", "MB", "GB", "TB")


def amount(size_bytes: float) -> str:
    """Write a number of bytes with three digits at most: 155 kB, 6.66 MB, 0 B."""
    size = float(size_bytes)
    for unit in UNITS:
        if abs(size) < 999.5 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
