"""What was in an engine before, and what is in it after: a row for each thing, with its owner."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from labsupport.engine.belongings import MINE, Belongings, Thing
from labsupport.views.amounts import amount

GONE, NEW, STILL = "gone", "new", "there"


@dataclass(frozen=True)
class BelongingsTable:
    """`BelongingsTable(before)`, or `BelongingsTable(before, after)`; to be displayed."""

    before: Belongings
    after: Belongings | None = None

    @property
    def head(self) -> tuple[str, ...]:
        """The columns' names."""
        return ("what", "name", "ID", "size or state", "whose",
                *(("before", "after") if self.after else ()))  # fmt: skip

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each thing that was there at one of the moments."""
        return [self._row(thing) for thing in self._things()]

    def finding(self) -> str:
        """Say in one line what has changed."""
        if self.after is None:
            return f"{len(self.before.things)} things, {len(self.before.mine)} of this notebook's"
        gone = [thing for thing in self._things() if self._when(thing) == GONE]
        ours = sum(thing.whose == MINE for thing in gone)
        rest = len(self._things()) - len(gone)
        return f"{len(gone)} have gone, {ours} of them this notebook's; {rest} are still there"

    def _things(self) -> list[Thing]:
        found = {thing.identity: thing for thing in self.before.things}
        for thing in self.after.things if self.after else ():
            found.setdefault(thing.identity, thing)
        return sorted(found.values(), key=lambda thing: (thing.kind, thing.whose, thing.name))

    def _row(self, thing: Thing) -> tuple[str, ...]:
        size = amount(thing.bytes) if thing.kind == "image" else thing.state
        row = (thing.kind, thing.name, thing.short, size, thing.whose)
        if self.after is None:
            return row
        when = self._when(thing)
        return (*row, "" if when == NEW else "✓", "gone" if when == GONE else "✓")

    def _when(self, thing: Thing) -> str:
        was = thing.identity in self.before.identities
        if self.after is None or thing.identity in self.after.identities:
            return STILL if was else NEW
        return GONE

    def __repr__(self) -> str:
        rows = [self.head, *self.rows()]
        widths = [max(len(row[place]) for row in rows) for place in range(len(self.head))]
        lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
                 for row in rows)  # fmt: skip
        return "\n".join([self.finding(), *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col' style='text-align:left'>{word}</th>" for word in self.head)
        body = "".join(self._markup())
        return (
            f"<table style='font-size:1em'><caption style='text-align:left;caption-side:top'>"
            f"<b>{html.escape(self.finding())}</b></caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )

    def _markup(self) -> Iterator[str]:
        for thing, row in zip(self._things(), self.rows(), strict=True):
            faded = ";opacity:.75" if self._when(thing) == GONE else ""
            style = f"style='text-align:left{faded}'"
            yield (
                "<tr>" + "".join(f"<td {style}>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            )
