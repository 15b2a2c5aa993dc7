"""Who made it, and who cleans it up.

What an experiment makes carries its owner: the PID and start time of the notebook's Python, and
where these mean something, which together name one process for good. Owners clean up after
themselves, and the kernel ends what lives in their PID namespaces. What is left when even that
failed is found here by its mark: `./lab clean` removes it by hand, and the first sandbox of a
notebook does so unasked. Nothing without our mark is ever touched.
"""

import argparse
import contextlib
import errno
import functools
import os
import re
import select
import shutil
import signal
import stat
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Self

from labsupport.errors import LabError
from labsupport.kernel import proc


class Closing:
    """What a `with` statement closes at its end; a subclass says how, and may be closed twice."""

    def close(self) -> None:
        """Take it down."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Opening(Closing):
    """What a `with` statement opens, too."""

    def open(self) -> Self:
        """Make it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.open()


LEAN = Path(__file__).with_name("lean.py")
"""The program that runs a module of ours in a Python which starts fast."""


def lean(module: str, *words: str) -> list[str]:
    """Return the command that runs it: it calls `main(words)` of that module."""
    return [sys.executable, "-I", "-S", str(LEAN), module, *words]


def reaping(*options: str) -> list[str]:
    """Return the start of a command that ends with this process: see `ownership.reaper`."""
    # it has our mark, and so has what it starts: one that was stopped or killed clears nothing up
    return ["env", f"{VARIABLE}={mark()}", *lean(REAPER, str(os.getpid()), *options)]


def environment() -> dict[str, str]:
    """Return our environment with our mark: what is stopped may outlive us."""
    return {**os.environ, VARIABLE: mark()}


VARIABLE = "LABSUPPORT_OWNER"
ZOMBIE = "Z"
REAPER = "labsupport.ownership.reaper"
REAPER_SECONDS, KILLED_SECONDS = 5.0, 1.0
"""How long one may clear up, and how long something killed is waited for: it may be frozen."""
FINDERS = ("labsupport.cgroup.life",)
"""Modules that find more, by their `find()`; imported when somebody looks."""
SLOW_FINDERS = ("labsupport.engine.listing", "labsupport.ownership.bridges")
"""And those that only `./lab clean` asks; whatever makes such things again sweeps them first."""
OWNED_NAME = re.compile(r"labsupport-\w+-(\d{1,10})-(\d+)-([0-9a-f]{8})-")
"""A name that `prefix` begins; `:` between its groups gives the mark."""


@dataclass(frozen=True)
class Leftover:
    """Something whose owner has gone: in words, and how to remove it."""

    what: str
    remove: Callable[[], None]


def mark(pid: int | None = None) -> str:
    """Return `PID:start time:home` of this process (or another one in its PID namespace).

    The start time, in clock ticks since boot, tells a process from a later one with the same
    number; proc(5), field 22 of stat.
    """
    pid = pid or os.getpid()
    return f"{pid}:{proc.stat(pid)[19]}:{_home(os.getpid())}"


@functools.lru_cache(maxsize=1)
def _home(_pid: int) -> str:
    """Return where our PIDs and start times mean something, as 8 hexadecimal digits.

    That is this boot of this kernel (the Lab VM sees its host's files), this PID namespace and this
    time namespace, which shifts start times; pid_namespaces(7), time_namespaces(7).
    """
    place = Path("/proc/sys/kernel/random/boot_id").read_text()
    for kind in ("pid", "time"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without time namespaces
            place += os.readlink(f"/proc/self/ns/{kind}")
    return f"{zlib.crc32(place.encode()):08x}"


def prefix(what: str) -> str:
    """Return the start of a name for what this process owns: `labsupport-web-PID-TIME-HOME-`."""
    return f"labsupport-{what}-{mark().replace(':', '-')}-"


def is_alive(owner: str) -> bool:
    """Tell whether the process that made the mark still runs; if in doubt, it does."""
    # of a mark from another home nothing can be known here
    ours = re.fullmatch(rf"(\d{{1,10}}):\d+:{_home(os.getpid())}", owner)
    try:
        return not ours or (mark(int(ours[1])) == owner and proc.stat(ours[1])[0] != ZOMBIE)
    except PermissionError:  # with hidepid=1, it is somebody else's
        return True
    except (FileNotFoundError, ProcessLookupError):
        return not os.path.exists("/proc/1")  # with hidepid=2, nobody else's can be seen


def leftovers() -> Iterator[Leftover]:
    """Find what dead owners left: programs of their sandboxes, cgroups, and folders for a while."""
    yield from _processes()
    for module in FINDERS:
        yield from import_module(module).find()
    yield from _folders()


def _folders() -> Iterator[Leftover]:
    for folder in Path(tempfile.gettempdir()).glob("labsupport-*"):
        named = OWNED_NAME.match(folder.name)
        if not named or is_alive(":".join(named.groups())):
            continue
        with contextlib.suppress(FileNotFoundError):  # its owner or another notebook was faster
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                yield Leftover(f"folder {folder}", functools.partial(_remove_folder, folder))


def _remove_folder(folder: Path) -> None:
    """Remove a folder that others may be sweeping, and in which the dying may still write.

    Raises `LabError`: something is mounted there, which would be emptied.
    """
    if mounted := proc.mounts_in(folder):
        raise LabError("it was not removed", f"mounted there: {', '.join(mounted)}", "umount that")
    until = time.monotonic() + KILLED_SECONDS
    while folder.is_dir():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or time.monotonic() > until:
                raise


def _processes() -> Iterator[Leftover]:
    for pid in proc.pids():
        try:
            owner = _owner_of(pid)
            name = proc.text(proc.read(pid, "comm")).strip()
        except proc.OURS_NO_MORE:
            continue
        if owner and not is_alive(owner):
            what = f"process {pid} ({name}) of the ended notebook {owner.partition(':')[0]}"
            yield Leftover(what, functools.partial(_kill, pid, owner))


def _owner_of(pid: int) -> str:
    for entry in proc.read(pid, "environ").split(b"\0"):
        if entry.startswith(f"{VARIABLE}=".encode()):
            return proc.text(entry.partition(b"=")[2])
    return ""


def _kill(pid: int, owner: str) -> None:
    with contextlib.suppress(*proc.OURS_NO_MORE):
        pidfd = os.pidfd_open(pid)
        try:
            # asked again with the pidfd in hand: the number may belong to another process by now
            if _owner_of(pid) == owner and not _clears_up(pid, pidfd):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                select.select([pidfd], [], [], KILLED_SECONDS)
        finally:
            os.close(pidfd)


def _clears_up(pid: int, pidfd: int) -> bool:
    """Let a reaper do its work, which may have been stopped; tell whether it was one, and did."""
    if REAPER.encode() not in proc.read(pid, "cmdline"):
        return False
    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
    return bool(select.select([pidfd], [], [], REAPER_SECONDS)[0])


def sweep() -> None:
    """Remove what dead owners left; a warning tells of what could not be removed."""
    for leftover in leftovers():
        try:
            leftover.remove()
        except (OSError, LabError) as error:
            warnings.warn(f"an ended notebook left a {leftover.what}: {error}", stacklevel=2)


def main(argv: list[str]) -> int:
    """`./lab clean`: say what is left of notebooks that have ended, and remove it."""
    parser = argparse.ArgumentParser(prog="lab clean", description=main.__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say it, but remove nothing")
    dry = parser.parse_args(argv).dry_run
    slow = (import_module(module).find() for module in SLOW_FINDERS)
    told = [_told(leftover, dry) for leftover in chain(leftovers(), chain.from_iterable(slow))]
    if not told:
        print("Nothing is left behind.")
    return 0 if all(told) else 1


def _told(leftover: Leftover, dry: bool) -> bool:
    """Remove it, unless that is only to be said; False: it is still there, and why is said."""
    try:
        if not dry:
            leftover.remove()
    except (OSError, LabError) as error:
        print(f"not removed: {leftover.what}: {error}")
        return False
    print(f"{'would remove' if dry else 'removed'}: {leftover.what}")
    return True
