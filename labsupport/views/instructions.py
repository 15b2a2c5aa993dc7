"""A line of an image's history, as the instruction of a Dockerfile that it came from.

Each builder writes its own: the classic one `/bin/sh -c #(nop) COPY file:5e1f… in /app `, BuildKit
`COPY cli.py /app # buildkit`, and Podman `|1 A=1 /bin/sh -c make` where there are arguments.
"""

from __future__ import annotations

import re

SHELL = "/bin/sh -c "
NOTHING_RUN = "#(nop)"
LAYER_MAKERS = ("RUN", "COPY", "ADD", "WORKDIR")
OUR_LABEL = "LABEL org.labsupport"
_ARGUMENTS = re.compile(r"^\|\d+ (?:\S+=\S* )*(?=/bin/sh -c )")
_DIGEST = re.compile(r"\b((?:file|dir|multi):[0-9a-f]{6})[0-9a-f]+…?")


def instruction(created_by: str) -> str:
    """Return the line as it stands in a Dockerfile, as far as the history tells."""
    text = _ARGUMENTS.sub("", " ".join(created_by.split())).removesuffix(" # buildkit")
    if text.startswith(f"{SHELL}{NOTHING_RUN}"):
        text = text.removeprefix(f"{SHELL}{NOTHING_RUN}")
    elif text.startswith(SHELL):
        text = f"RUN {text.removeprefix(SHELL)}"
    text = text.replace(f"RUN {SHELL}", "RUN ", 1)
    return _DIGEST.sub(r"\1…", text.strip())


def keyword(created_by: str) -> str:
    """Return the instruction's first word, such as RUN."""
    return instruction(created_by).partition(" ")[0].upper()


def is_ours(created_by: str) -> bool:
    """Whether it is the label by which this course finds what it made."""
    return instruction(created_by).startswith(OUR_LABEL)
