"""The label on everything that we make in an engine: who made it, so that its end can be told."""

from __future__ import annotations

import os
from pathlib import Path

OWNER = "org.labsupport.owner"
COURSE = "course"  # the owner of what all notebooks share, and no session's end removes


def owner_labels() -> dict[str, str]:
    """Label for what this process makes: its process ID and start time, in clock ticks since boot.

    A process ID alone is used again after a while; field 22 of proc_pid_stat(5) is not.
    """
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return {OWNER: f"{os.getpid()}-{stat[19]}"}
