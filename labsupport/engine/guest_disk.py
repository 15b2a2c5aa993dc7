"""The Lab VM's disk: a place for images, and for files that are too large for its memory.

The host gives the guest an empty disk, named in `LAB_DISK` (see labsupport.vm.disk); it is prepared
when an engine is first asked for. A guest without a disk keeps all that in memory.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labsupport.errors import EngineFailed

DATA = Path("/run/labsupport/engine/data")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def scratch() -> Path:
    """Return a folder for files that are too large for memory: on the disk once it is prepared.

    Where there is no such disk, it is the usual folder for temporary files.
    """
    folder = DATA / "scratch"  # Docker leaves alone what it does not know
    return folder if folder.is_dir() else Path(tempfile.gettempdir())


def prepare(data: Path = DATA) -> None:
    """Give the guest's disk a file system, and mount it where the engine keeps its images.

    Nobody will look at this disk again, so there is no journal, nothing is made ready before it is
    used, nothing waits for the host's disk; and what is deleted, the host gets back.
    """
    device = os.environ.get("LAB_DISK")
    if not device or os.path.ismount(data):
        return
    options = "noatime,barrier=0,discard,noinit_itable"
    features = ["-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1"]
    _run(["mkfs.ext4", "-q", "-F", *features, device])
    data.mkdir(exist_ok=True)
    _run(["mount", "-t", "ext4", "-o", options, device, str(data)])
    (data / "scratch").mkdir(mode=0o700)


def _run(argv: Sequence[str]) -> None:
    path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}"
    try:
        done = subprocess.run(
            argv, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        why, remedy = f"no program `{argv[0]}`", "sudo apt-get install e2fsprogs"
        raise EngineFailed("the engine has no disk", why, remedy) from error
    if done.returncode:
        raise EngineFailed("the engine has no disk", f"{argv[0]}: {done.stderr.strip()}")
