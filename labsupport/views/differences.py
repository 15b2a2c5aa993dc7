"""Containers side by side, as a table: what each is held in by, and what that is good for."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.linux.workshop.portrait import Difference

# on each cell: where a notebook is not trusted, style sheets are taken out of its outputs
_CELL = (
    "text-align:left;vertical-align:top;padding:.3em .8em;white-space:normal;"
    "overflow-wrap:anywhere;border-bottom:1px solid rgba(128,128,128,.4)"
)
_DIFFERS = ";background:rgba(230,159,0,.16);font-weight:bold"


@dataclass(frozen=True)
class Comparison:
    """A table with a column for each container; rows in which they differ are marked."""

    names: Sequence[str]
    rows: Sequence[Difference]

    @property
    def caption(self) -> str:
        """The finding, in one line."""
        count = sum(row.differs for row in self.rows)
        return f"{count} of {len(self.rows)} things differ between {', '.join(self.names)}"

    def __repr__(self) -> str:
        lines = [self.caption]
        for row in self.rows:
            values = "; ".join(f"{n}: {v}" for n, v in zip(self.names, row.values, strict=True))
            lines.append(f"{'≠' if row.differs else '='} {row.what}: {values} ({row.good_for})")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        heads = ["", *self.names, "what it is good for"]
        head = "".join(
            f'<th scope="col" style="{_CELL}">{html.escape(name)}</th>' for name in heads
        )
        body = "".join(map(_row, self.rows))
        return (
            "<table style='border-collapse:collapse;font-size:14px;color:inherit'>"
            "<caption style='text-align:left;font-weight:bold;padding:.4em 0;color:inherit'>"
            f"{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def _row(row: Difference) -> str:
    style = _CELL + (_DIFFERS if row.differs else "")
    cells = "".join(f'<td style="{style}">{html.escape(value)}</td>' for value in row.values)
    return (
        f'<tr><th scope="row" style="{_CELL}">{"≠" if row.differs else "="} '
        f"{html.escape(row.what)}</th>{cells}"
        f'<td style="{_CELL}">{html.escape(row.good_for)}</td></tr>'
    )
