"""`# needs: cgroup.memory, ns.pid` on the first line of a cell: run it, or say why it cannot run.

The marker is an ordinary comment. Loaded by `%load_ext labsupport`, an input transformer leaves the
cell alone if all is there (so `await`, the display of the last expression and line numbers work as
ever), and otherwise puts a notice in its place: the whole cell, never a part of it. Without the
extension the cell runs, and fails loudly.

The notice carries the MIME type `application/vnd.labsupport.skipped+json` for the tests:
`{"missing": {"ns.pid": "the reason. What to do: the remedy"}}`. A misspelt name is an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labsupport.errors import UnknownCapability

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MIME = "application/vnd.labsupport.skipped+json"

_MARKER = re.compile(r"#\s*needs\s*:(?P<names>.*)")


def load(shell: InteractiveShell) -> None:
    """Obey `# needs:` from the next cell on; loading twice does it once."""
    if transform not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(transform)


def unload(shell: InteractiveShell) -> None:
    """Let cells run as they are again."""
    if transform in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(transform)


def named(lines: list[str]) -> list[str]:
    """Return the capabilities that a cell asks for on its first line that is not empty."""
    first = next((line.strip() for line in lines if line.strip()), "")
    marker = _MARKER.fullmatch(first)
    return marker["names"].replace(",", " ").split() if marker else []


def transform(lines: list[str]) -> list[str]:
    """Return the cell as it is, or one line that shows a notice or raises what is wrong with it."""
    names = named(lines)
    if not names:
        return lines
    from labsupport.machine import CAPABILITIES, probe

    unknown = [name for name in names if name not in CAPABILITIES]
    if unknown:
        return [_call("misspelt", unknown[0])]
    missing = {name: (no.reason, no.remedy) for name, no in probe().missing(*names).items()}
    return [_call("show_notice", missing)] if missing else lines


def _call(function: str, argument: object) -> str:
    return f"__import__('labsupport.needs').needs.{function}({argument!r})\n"


def misspelt(name: str) -> None:
    """Raise the error for a name that is no capability, in the cell that holds it."""
    from labsupport.machine import CAPABILITIES

    raise UnknownCapability(name, CAPABILITIES)


def show_notice(missing: Mapping[str, tuple[str, str]]) -> None:
    """Display why this cell did not run; `missing` is reason and remedy by capability."""
    from IPython.display import display

    display(bundle(missing), raw=True)  # type: ignore[no-untyped-call]


def bundle(missing: Mapping[str, tuple[str, str]]) -> dict[str, object]:
    """Return the notice for people (HTML, text) and for the tests (JSON)."""
    told = {
        name: f"{reason}. What to do: {remedy}" if remedy else reason
        for name, (reason, remedy) in missing.items()
    }
    text = "\n".join(
        [f"Not run here: this step needs {' and '.join(missing)}."]
        + [f"  {name}: {why}" for name, why in told.items()]
        + [_CONSOLATION]
    )
    return {MIME: {"missing": told}, "text/html": _html(missing), "text/plain": text}


_CONSOLATION = "Everything else goes on; the text below tells what you would have seen."


def _html(missing: Mapping[str, tuple[str, str]]) -> str:
    items = "".join(
        f"<dt style='margin-top:.5em'><code style='background:none;color:inherit;font-weight:bold'>"
        f"{html.escape(name)}</code></dt><dd style='margin:0 0 0 1.5em'>{html.escape(reason)}."
        + (f"<br><b>What to do:</b> {html.escape(remedy)}" if remedy else "")
        + "</dd>"
        for name, (reason, remedy) in missing.items()
    )
    return (
        "<div role='note' aria-label='This step was not run' style='border-left:5px solid #E69F00;"
        "background:rgba(230,159,0,.12);padding:.6em 1em;border-radius:3px;max-width:52em'>"
        f"<b>Not run here.</b> This step needs what this machine does not have:"
        f"<dl style='margin:.2em 0 .6em'>{items}</dl>{_CONSOLATION}</div>"
    )
