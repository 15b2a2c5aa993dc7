"""Write our label into a Dockerfile, so that whatever the builder makes of it carries the label.

A label that is asked for with the build comes last, and only into the final image: what a failed
build leaves, the other stages' images and the containers that `RUN` runs in would have none. So
each `FROM` is followed by a `LABEL`. (BuildKit leaves no images or containers of its steps, and is
given the label with the build.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

STAGE = "org.labsupport.stage"
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_FROM = re.compile(r"\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_TAKES_HEREDOC = re.compile(r"\s*(RUN|COPY|ADD)\s", re.IGNORECASE)


@dataclass(frozen=True)
class Marked:
    """A Dockerfile with our lines in it; `added` are their numbers, from 1."""

    text: str
    added: tuple[int, ...] = ()

    def original(self, line: int) -> int:
        """Return a line's number in the Dockerfile as it was."""
        return line - sum(added < line for added in self.added)


def mark(dockerfile: str, labels: Mapping[str, str]) -> Marked:
    """Put a `LABEL` after each `FROM`."""
    lines: list[str] = []
    added: list[int] = []
    bases: set[str] = set()
    for instruction in instructions(dockerfile):
        lines += instruction
        if found := _FROM.match("\n".join(instruction)):
            # two stages of one base would else be one to the cache, which keeps the newest image
            stage = {STAGE: str(len(added))} if found[1] in bases else {}
            bases.add(found[1])
            lines.append(_label({**labels, **stage}))
            added.append(len(lines))
    return Marked("\n".join(lines) + "\n", tuple(added))


def _label(labels: Mapping[str, str]) -> str:
    return "LABEL " + " ".join(f"{name}={json.dumps(text)}" for name, text in labels.items())


def instructions(dockerfile: str) -> list[list[str]]:
    """Split a Dockerfile into instructions, each as its lines; comments stand alone.

    Knows line continuation, the `# escape=` directive, comments within an instruction, and
    here-documents: https://docs.docker.com/reference/dockerfile/.
    """
    found: list[list[str]] = []
    lines = dockerfile.splitlines()
    directive = _ESCAPE.match(lines[0]) if lines else None
    escape = directive[1] if directive else "\\"
    number = 0
    while number < len(lines):
        begin = number
        while number + 1 < len(lines) and _goes_on(lines[number], escape, inside=number > begin):
            number += 1
        number = _after_heredocs(lines, begin, number + 1)
        found.append(lines[begin:number])
    return found


def _goes_on(line: str, escape: str, *, inside: bool) -> bool:
    is_comment = line.lstrip().startswith("#") or not line.strip()
    return inside if is_comment else line.rstrip().endswith(escape)


def _after_heredocs(lines: list[str], begin: int, end: int) -> int:
    words = "\n".join(lines[begin:end])
    if _TAKES_HEREDOC.match(words):
        for word in _HEREDOC.findall(words):
            while end < len(lines) and lines[end].strip() != word:
                end += 1
            end += 1
    return end
