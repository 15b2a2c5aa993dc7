"""What a machine takes of this one: amounts as people write them, memory, space, a port."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from pathlib import Path

from labsupport.errors import BadAmount, NoSpace, TooLittleMemory

LEAST_SPACE = 1 << 30
_UNITS = {"M": 1 << 20, "G": 1 << 30}


def amount(text: str, least: int) -> int:
    """Return `"512M"` or `"4G"` in bytes. Raises `BadAmount`."""
    match = re.fullmatch(r"(\d+)([MG])", text.strip().upper())
    if not match:
        raise BadAmount(f"unknown amount {text!r}", "", 'write it as "512M" or "4G"')
    found = int(match[1]) * _UNITS[match[2]]
    if found < least:
        raise BadAmount(f"{text} is too little", "", f"take {least >> 20}M or more")
    return found


def require_memory(wanted: int) -> None:
    """Raise `TooLittleMemory` unless so many bytes are available; see proc_meminfo(5)."""
    available = int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0])
    if available << 10 < wanted:
        raise TooLittleMemory(
            "the machine does not fit into this one's memory",
            f"{wanted >> 20} MB are asked for, {available >> 10} MB are available",
            'close other programs, or create it smaller: memory="512M"',
        )


def require_space() -> None:
    """Raise `NoSpace` unless there is room for what will be written to the disk."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < LEAST_SPACE:
        raise NoSpace(
            "a machine's disk needs space",
            f"{free >> 20} MB are free in {folder}, and it may grow to {LEAST_SPACE >> 20} MB",
            "name a folder with space: TMPDIR=FOLDER ./lab",
        )


def free_port() -> int:
    """Return a port of our loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
