"""Where something large is built: a folder that goes whatever happens, steps that end with us."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from labsupport.errors import NoSpace
from labsupport.linux import syscalls

LAST_LINES = 12


@contextmanager
def scratch(what: str, output: Path, space_bytes: int, remedy: str) -> Iterator[Path]:
    """Make a folder with space to build `what` (a word), and remove it; sweep what the dead left.

    It lies in the folder for temporary files, else in `output`. Raises `NoSpace`.
    """
    prefix = f"labsupport-{what}-"
    places = [Path(tempfile.gettempdir()), output]
    for place in places:
        _sweep(place, prefix)
    free = {place: shutil.disk_usage(place).free for place in places if _runs_programs(place)}
    chosen = next((place for place in free if free[place] >= space_bytes), None)
    if chosen is None:
        found = ", ".join(f"{place} {free.get(place, 0) / 1e9:.1f} GB" for place in places)
        raise NoSpace(
            f"no space to build a {what}",
            f"{space_bytes / 1e9:.1f} GB are needed, and free (where programs may run) are {found}",
            remedy,
        )
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=chosen))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield folder
    finally:
        signal.signal(signal.SIGTERM, before)
        _remove(folder)
        os.close(lock)


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Wait until nobody else makes something in this folder by `command`, such as `./lab base`."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another {command} is at work; waiting for it …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(
    argv: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    heard: Callable[[str], None] = lambda line: None,
    *,
    pass_fds: Sequence[int] = (),
) -> tuple[int, str]:
    """Run one step; return its exit status and the last lines that it wrote.

    It has a process group of its own, which ends with it, with us, or when stopped. `heard` is
    told each line.
    """
    log: deque[str] = deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env={**environment, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=pass_fds,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (no threads here)
    )
    try:
        for line in process.stdout or ():
            log.append(line.rstrip())
            heard(line)
        status = process.wait()
    finally:
        _end_group(process)
    return status, "\n".join(log)


def own_mounts() -> list[str]:
    """Return what, in front of a command, keeps root's mounts from this machine: they end with it.

    Who may not have mounts of their own cannot mount anything either, and needs none of this.
    """
    prefix = ["unshare", "--mount"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if os.geteuid() == 0 and allowed else []


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _sweep(place: Path, prefix: str) -> None:
    """Remove what a killed build left: its lock on the folder has gone with it."""
    for folder in place.glob(f"{prefix}*"):
        found = folder.stat()
        fresh = time.time() - found.st_mtime < 60  # another build may not hold its lock yet
        if fresh or found.st_uid != os.getuid() or not folder.is_dir():
            continue
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            _remove(folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove it with what users of a user namespace have there, which is not our user's.

    What is mounted there is no part of it, and nothing of that may be removed.
    """
    if f"{folder}/" in Path("/proc/self/mountinfo").read_text():
        return
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and shutil.which("newuidmap"):
        argv = ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", str(folder)]
        subprocess.run(argv, capture_output=True, check=False)


def _runs_programs(place: Path) -> bool:
    return not os.statvfs(place).f_flag & os.ST_NOEXEC


def _end_with_parent() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_group(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    if process.stdout:
        process.stdout.close()
