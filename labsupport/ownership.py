"""Who made it, and who cleans it up.

What an experiment makes carries its owner: the PID and start time of the notebook's Python, which
together name one process for ever. Owners clean up after themselves, and the kernel ends what lives
in their PID namespaces. What is left when even that failed is found here by its mark: `./lab clean`
removes it by hand, and the first sandbox of a notebook does so unasked. Nothing without our mark
is ever touched.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

VARIABLE = "LABSUPPORT_OWNER"
FINDERS = ("labsupport.linux.cgroup.leftovers",)
"""Modules that find more, by their `find()`; imported when somebody looks."""
SLOW_FINDERS = ("labsupport.engine.leftovers", "labsupport.linux.net.bridges")
"""And those that only `./lab clean` asks; who makes such things again sweeps them first."""
_OWNED_NAME = re.compile(r"labsupport-\w+-(\d+)-(\d+)-([0-9a-f]{8})-")


@dataclass(frozen=True)
class Leftover:
    """Something whose owner has gone: in words, and how to remove it."""

    what: str
    remove: Callable[[], None]


def mark(pid: int | None = None) -> str:
    """Return `PID:start time` of this process (or another); the time is in clock ticks since boot.

    The start time tells a process from a later one with the same number; proc(5), field 22 of stat.
    """
    return _mark_of(os.getpid()) if pid is None else _read_mark(pid)


@functools.lru_cache(maxsize=1)  # our own does not change, but in a forked process
def _mark_of(pid: int) -> str:
    return _read_mark(pid)


def _read_mark(pid: int) -> str:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{pid}:{fields[19]}"


def prefix(what: str) -> str:
    """Return the start of a name for what this process owns: `labsupport-web-PID-TIME-BOOT-`."""
    return f"labsupport-{what}-{mark().replace(':', '-')}-{boot()}-"


@functools.lru_cache(maxsize=1)
def boot() -> str:
    """Return which kernel we run on: the Lab VM sees its host's files, with other PIDs in them."""
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def is_alive(owner: str) -> bool:
    """Tell whether the process that made the mark still runs."""
    pid = owner.partition(":")[0]
    try:
        return pid.isdigit() and mark(int(pid)) == owner
    except (FileNotFoundError, ProcessLookupError):
        return False


def leftovers() -> Iterator[Leftover]:
    """Find what dead owners left: programs of their sandboxes, cgroups, and folders for a while."""
    yield from _processes()
    for module in FINDERS:
        yield from import_module(module).find()
    yield from _folders()


def _folders() -> Iterator[Leftover]:
    for folder in Path(tempfile.gettempdir()).glob("labsupport-*"):
        found = _OWNED_NAME.match(folder.name)
        if not found or found[3] != boot() or is_alive(f"{found[1]}:{found[2]}"):
            continue
        with contextlib.suppress(FileNotFoundError):  # its owner, or another notebook, was faster
            if folder.stat().st_uid == os.getuid():
                yield Leftover(f"folder {folder}", functools.partial(shutil.rmtree, folder))


def _processes() -> Iterator[Leftover]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # it belongs to somebody else, or has ended
            continue
        owner = _variable(environment)
        if owner and not is_alive(owner):
            yield _process(int(folder.name), owner)


def sweep() -> list[Leftover]:
    """Remove what dead owners left, and return it."""
    found = list(leftovers())
    for leftover in found:
        leftover.remove()
    return found


def main(argv: list[str]) -> int:
    """`./lab clean`: say what is left of notebooks that have ended, and remove it."""
    parser = argparse.ArgumentParser(prog="lab clean", description=main.__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say it, but remove nothing")
    dry = parser.parse_args(argv).dry_run
    found = list(leftovers())
    for module in SLOW_FINDERS:
        found += import_module(module).find()
    for leftover in found:
        print(f"{'would remove' if dry else 'removed'}: {leftover.what}")
        if not dry:
            leftover.remove()
    if not found:
        print("Nothing is left behind.")
    return 0


def _variable(environment: bytes) -> str:
    for entry in environment.split(b"\0"):
        if entry.startswith(f"{VARIABLE}=".encode()):
            return entry.partition(b"=")[2].decode()
    return ""


def _process(pid: int, owner: str) -> Leftover:
    name = Path(f"/proc/{pid}/comm").read_text().strip()

    def remove() -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # asked again with the pidfd in hand: the number may belong to another process by now
            if _variable(Path(f"/proc/{pid}/environ").read_bytes()) == owner:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            return
        finally:
            os.close(pidfd)

    return Leftover(
        f"process {pid} ({name}) of the ended notebook {owner.partition(':')[0]}", remove
    )
