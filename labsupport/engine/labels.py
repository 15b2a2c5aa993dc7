"""The label on everything that we make in an engine: who made it, so that its end can be told."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labsupport import ownership

OWNER = "org.labsupport.owner"
COURSE = "course"  # the owner of what all notebooks share, and no session's end removes


def owner_labels() -> dict[str, str]:
    """Label for what this process makes: its mark, and where that mark means something."""
    return {OWNER: f"{ownership.mark()}@{_here()}"}


def as_filter(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the filter, as the Docker SDK takes it, that finds what carries all these labels."""
    return {"label": [f"{key}={text}" for key, text in labels.items()]}


def is_left(label: str) -> bool:
    """Tell whether a label is that of a process of this machine's which has ended."""
    mark, _, where = label.partition("@")
    return where == _here() and not ownership.is_alive(mark)


@functools.lru_cache(maxsize=1)
def _here() -> str:
    """Return boot and PID namespace: the engine may serve other machines and containers, too."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
