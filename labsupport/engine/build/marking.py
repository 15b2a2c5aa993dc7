"""Write our label into a Dockerfile, so that whatever the builder makes of it carries the label.

A label that is asked for with the build comes last, and only into the final image: what a failed
build leaves, and the other stages' images, would have none. So each `FROM` is followed by a
`LABEL`. BuildKit leaves no such images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_FROM = re.compile(r"\s*FROM\s", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_TAKES_HEREDOC = re.compile(r"\s*(RUN|COPY|ADD)\s", re.IGNORECASE)


def label_line(labels: Mapping[str, str]) -> str:
    """Write the instruction that sets all of the labels."""
    return "LABEL " + " ".join(f"{key}={json.dumps(text)}" for key, text in labels.items())


def marked(dockerfile: str, labels: Mapping[str, str]) -> str:
    """Return the Dockerfile with a `LABEL` after each `FROM`."""
    lines: list[str] = []
    for instruction in instructions(dockerfile):
        lines += instruction
        if _FROM.match("".join(instruction)):
            lines.append(label_line(labels))
    return "\n".join(lines) + "\n"


def instructions(dockerfile: str) -> list[list[str]]:
    """Split a Dockerfile into instructions, each as its lines; comments stand alone.

    Knows line continuation, its `# escape=` directive, comments within, and here-documents.
    """
    found: list[list[str]] = []
    lines = dockerfile.splitlines()
    first = _ESCAPE.match(lines[0]) if lines else None
    escape = first[1] if first else "\\"
    number = 0
    while number < len(lines):
        begin = number
        while _goes_on(lines[number], escape, inside=number > begin) and number + 1 < len(lines):
            number += 1
        words = "\n".join(lines[begin : number + 1])
        number += 1
        if _TAKES_HEREDOC.match(words):
            for end in _HEREDOC.findall(words):
                while number < len(lines) and lines[number].strip() != end:
                    number += 1
                number += 1
        found.append(lines[begin:number])
    return found


def _goes_on(line: str, escape: str, *, inside: bool) -> bool:
    is_comment = line.lstrip().startswith("#") or not line.strip()
    return inside if is_comment else line.rstrip().endswith(escape)
