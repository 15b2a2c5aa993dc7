"""Where something large is built: a folder that goes whatever happens, steps that end with us."""

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from labsupport.errors import LabError
from labsupport.kernel import proc, syscalls


class Progress:
    """Says how far a long job is, in an occasional line.

    `with Progress("compiling", 1700) as p: p.step()`; `total` is an estimate, of `things`.
    """

    def __init__(self, what: str, total: int = 0, *, things: str = "files") -> None:
        self.what, self.total, self.done, self.things = what, total, 0, things
        self._began, self._told = time.monotonic(), 0

    def step(self) -> None:
        """Count one more; every 10 % are told."""
        self.done += 1
        percent = min(99, 100 * self.done // self.total) if self.total else 0
        if percent >= self._told + 10:
            self._told = percent // 10 * 10
            counted = f"{self.done} of about {self.total} {self.things}"
            print(f"{self.what}: {percent} %, {counted}, {self._seconds:.0f} s", flush=True)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        print(self.what, flush=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        how = "stopped" if kind else "done"
        print(f"{self.what}: {how} after {self._seconds:.0f} s", flush=True)


LAST_LINES = 12
HOOKS = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
"""A merged /usr from the beginning spares Debian 12 the package usrmerge, and 48 MB of Perl."""
_UNPACKED = re.compile(r"(Unpacking|Setting up) ")


def parser(command: str, description: str, for_all: Path) -> argparse.ArgumentParser:
    """Return what understands the options of `./lab base` and `./lab vm-disk`."""
    made = argparse.ArgumentParser(prog=f"lab {command}", description=description)
    made.add_argument("--check", action="store_true", help="only tell whether it is there")
    made.add_argument("--output", type=Path, help=f"folder for it (for all users: {for_all})")
    made.add_argument("--mirror", default="", help="Debian mirror to use")
    made.add_argument("--again", action="store_true", help="make it even if it is there already")
    return made


def status_of(work: Callable[[], bool]) -> int:
    """Do a command's work and return its exit status; what stops it is said in a line."""
    try:
        return 0 if work() else 1
    except LabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return 130


def tell(path: Path, size_bytes: int, *, current: bool) -> bool:
    """Say whether something that is made once is there, made by today's recipe."""
    if current:
        print(f"there: {path} ({size_bytes / 1e6:.0f} MB)")
    else:
        print(f"{'made by another recipe' if path.exists() else 'not there'}: {path}")
    return current


def debian(
    options: Sequence[str], target: tuple[str, Path, str], steps: int, folder: Path,
    environment: Mapping[str, str], pass_fds: Sequence[int] = (),
) -> tuple[int, str]:  # fmt: skip
    """Have mmdebstrap(1) make a Debian: `target` is (suite, file, mirror or "").

    `steps` is about how often apt says what it does.
    """
    suite, file, mirror = target
    argv = ["mmdebstrap", "--verbose", f"--hook-dir={HOOKS}", *options, suite, str(file)]
    argv += [mirror] if mirror else []
    with Progress("making a Debian (mmdebstrap)", steps, things="steps") as progress:

        def heard(line: str) -> None:
            if _UNPACKED.match(line):
                progress.step()

        return run([*own_mounts(), *argv], folder, environment, heard, pass_fds=pass_fds)


@contextmanager
def scratch(what: str, output: Path, space_bytes: int, remedy: str) -> Iterator[Path]:
    """Make a folder with space to build `what` (a word), and remove it; sweep what the dead left.

    It is in the folder for temporary files, else in `output`. Raises `LabError`.
    """
    prefix = f"labsupport-{what}-"
    places = [Path(tempfile.gettempdir()), output]
    for place in places:
        _sweep(place, prefix)
    runs = [place for place in places if not os.statvfs(place).f_flag & os.ST_NOEXEC]
    free = {place: shutil.disk_usage(place).free for place in runs}
    chosen = next((place for place in free if free[place] >= space_bytes), None)
    if chosen is None:
        found = ", ".join(f"{place} {free.get(place, 0) / 1e9:.1f} GB" for place in places)
        needed = f"{space_bytes / 1e9:.1f} GB are needed"
        why = f"{needed}, and free (where programs may run) are {found}"
        raise LabError(f"no space to build a {what}", why, remedy)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with _folder(chosen, prefix) as folder:
            yield folder
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _folder(place: Path, prefix: str) -> Iterator[Path]:
    """Make a folder, and remove it in the end; whoever sweeps leaves it alone until then."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
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
    argv: Sequence[str], folder: Path, environment: Mapping[str, str],
    heard: Callable[[str], None] = lambda line: None, *, pass_fds: Sequence[int] = (),
) -> tuple[int, str]:  # fmt: skip
    """Run one step; return its exit status and the last lines that it wrote.

    It has a process group of its own, which ends with it, with us, or when stopped. `heard` is
    told each line.
    """
    log: deque[str] = deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        argv, cwd=folder, env={**environment, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True, pass_fds=pass_fds,
        preexec_fn=ends_with_us(),  # noqa: PLW1509 (no threads here)
    )  # fmt: skip
    try:
        for line in process.stdout or ():
            log.append(line.rstrip())
            heard(line)
        status = process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        if process.stdout:
            process.stdout.close()
    return status, "\n".join(log)


@contextmanager
def staged(what: str, path: Path) -> Iterator[Path]:
    """Yield where a new `path` is written (see `scratch`); who has it open keeps the old one.

    A folder that is there already is in its way.
    """
    with _folder(path.parent, f"labsupport-{what}-") as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


def own_mounts() -> list[str]:
    """Return what, in front of a command, keeps root's mounts from this machine: they end with it.

    A user who may not make a mount namespace cannot mount anything either, and needs none of this.
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

    What is mounted there is not part of it, and must not be removed.
    """
    if proc.mounts_in(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and shutil.which("newuidmap"):
        argv = ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", str(folder)]
        subprocess.run(argv, capture_output=True, check=False)


def ends_with_us() -> Callable[[], None]:
    """Return a `preexec_fn` by which a program gets SIGTERM when we end."""
    return partial(syscalls.end_with, os.getpid(), signal.SIGTERM)
