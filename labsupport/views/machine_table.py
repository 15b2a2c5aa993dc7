"""The doctor's table: what this machine can do, as text and as an accessible table."""

from __future__ import annotations

import html
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labsupport.machine import Machine, Row

_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"
_STYLE = """
.lab-machine {border-collapse: collapse; font-size: 14px; color: inherit}
.lab-machine caption {text-align: left; font-weight: bold; padding: .4em 0; color: inherit}
.lab-machine th, .lab-machine td {text-align: left !important; vertical-align: top;
 padding: .3em .8em; border-bottom: 1px solid rgba(128, 128, 128, .4); white-space: normal}
.lab-machine th[scope=row] small {display: block; font-weight: normal}
.lab-machine .answer {white-space: nowrap; font-weight: bold}
.lab-machine .no td {background: rgba(213, 94, 0, .13)}
.lab-machine code {background: none; color: inherit}
"""


def text_table(machine: Machine, *, colour: bool = False, width: int = 100) -> str:
    """Write one line per capability; a "no" is followed by its reason and remedy."""
    green, red, plain = (_GREEN, _RED, _PLAIN) if colour else ("", "", "")
    rows = machine.rows()
    names = max(len(row.name) for row in rows)
    lines = [machine.headline(), _count(machine), ""]
    for row in rows:
        no = row.refusal
        mark = f"{red}✗ no {plain}" if no else f"{green}✓ yes{plain}"
        lines.append(f"{mark}  {row.name:{names}}  {row.words}")
        if no:
            indent = " " * (names + 9)
            lines += _wrapped(no.reason, indent, width)
            lines += _wrapped(f"→ {no.remedy}", indent, width) if no.remedy else []
    return "\n".join(lines)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(machine: Machine) -> str:
    return f"{len(machine.found)} of {len(machine.rows())} capabilities are here"


def html_table(machine: Machine) -> str:
    """Write a table with a caption and row headers; the words carry it, colour only helps."""
    rows = "".join(_row(row) for row in machine.rows())
    headline = html.escape(f"{machine.headline()}. {_count(machine)}.")
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("capability", "here?", "why", "what to do")
    )
    return (
        f"<style>{_STYLE}</style>"
        f'<table class="lab-machine"><caption>{headline[0].upper()}{headline[1:]}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(row: Row) -> str:
    no = row.refusal
    head = f'<th scope="row">{html.escape(row.name)}<small>{html.escape(row.words)}</small></th>'
    if no is None:
        cells = f'<td class="answer">✓ yes</td><td>{html.escape(row.found)}</td><td></td>'
        return f'<tr class="yes">{head}{cells}</tr>'
    cells = (
        f'<td class="answer">✗ no</td><td>{html.escape(no.reason)}</td>'
        f"<td>{html.escape(no.remedy)}</td>"
    )
    return f'<tr class="no">{head}{cells}</tr>'
