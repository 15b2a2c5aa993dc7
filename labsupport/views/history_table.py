"""`docker image history`, with a bar for each line's share of the image."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labsupport.views.amounts import amount
from labsupport.views.instructions import instruction, is_ours

_BAR = 24  # characters


@dataclass(frozen=True)
class HistoryTable:
    """`HistoryTable(image.history())`, the newest line first; our own label is left out."""

    history: Sequence[Mapping[str, Any]]

    @property
    def lines(self) -> list[tuple[str, int]]:
        """Instruction and bytes of each line."""
        return [
            (instruction(line["CreatedBy"]), int(line["Size"]))
            for line in self.history
            if not is_ours(line["CreatedBy"])
        ]

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(size for _, size in self.lines)

    def finding(self) -> str:
        """Say in one line what it shows."""
        name, size = max(self.lines, key=lambda line: line[1])
        share = 100 * size / max(1, self.size_bytes)
        return f"{amount(self.size_bytes)}, of which {share:.1f} % by: {name[:50]}"

    def __repr__(self) -> str:
        rows = (f"{amount(size):>8}  {self._bar(size):{_BAR}}  {name}" for name, size in self.lines)
        return "\n".join([self.finding(), *rows])

    def _bar(self, size: int) -> str:
        length = _BAR * size / max(1, self.size_bytes)
        return "█" * round(length) if length >= 0.5 else "▏" if size else ""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:right;white-space:nowrap'>{amount(size)}</td>"
            f"<td aria-hidden='true' style='text-align:left;color:#E69F00'>{self._bar(size)}</td>"
            f"<td style='text-align:left'><code>{html.escape(name)}</code></td></tr>"
            for name, size in self.lines
        )
        return (
            "<table style='font-size:1em'><caption style='text-align:left;caption-side:top'>"
            f"<b>{html.escape(self.finding())}</b></caption><thead><tr><th scope='col'>size</th>"
            "<th scope='col'>share</th><th scope='col' style='text-align:left'>created by</th></tr>"
            f"</thead><tbody>{rows}</tbody></table>"
        )
