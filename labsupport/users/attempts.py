"""The same attempts in several sandboxes, and what the kernel answered to each, as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.figure import style
from labsupport.figure.table import Markup, code, html_table
from labsupport.sandbox.sandbox import Sandbox
from labsupport.trace import Completed


@dataclass(frozen=True)
class Answers:
    """`rows` has, for each attempt in words, how it ended in each sandbox; `names` are theirs."""

    names: tuple[str, ...]
    rows: Mapping[str, Sequence[Completed]]

    def allowed(self, name: str) -> list[str]:
        """Say which attempts succeeded in one of the sandboxes."""
        at = self.names.index(name)
        return [what for what, ended in self.rows.items() if ended[at].returncode == 0]

    def __repr__(self) -> str:
        return "\n".join(
            f"{what}\n"
            + "\n".join(f"  {n}: {_said(d)}" for n, d in zip(self.names, ended, strict=True))
            for what, ended in self.rows.items()
        )

    def _repr_html_(self) -> str:
        rows = [(what, *map(_marked, ended)) for what, ended in self.rows.items()]
        return html_table(("attempt", *self.names), rows, named=False)


def attempts(
    boxes: Mapping[str, Sandbox], tries: Mapping[str, Sequence[str]], cwd: Path | None = None
) -> Answers:
    """Run each program of `{what it attempts: arguments}` in each of `{name: sandbox}`."""
    rows = {
        what: [box.run(argv, cwd=cwd) for box in boxes.values()] for what, argv in tries.items()
    }
    return Answers(tuple(boxes), rows)


def _said(done: Completed) -> str:
    """The program's ending: yes, or the first line of its refusal."""
    refusal = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
    return f"✗ {refusal}" if done.returncode else "✓ yes"


def _marked(done: Completed) -> str:
    colour = style.KERNEL if done.returncode else style.SECOND
    stripe = f"border-left:5px solid {colour};padding-left:.5em"
    mark, _, words = _said(done).partition(" ")
    said = code(words) if done.returncode else words
    return Markup(f"<span style='{stripe}'><b>{mark}</b> {said}</span>")
