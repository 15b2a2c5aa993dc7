"""Groups whose owner has ended: found by their names, ended, and removed."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from labsupport import ownership
from labsupport.errors import CgroupClosed
from labsupport.linux.cgroup import ending
from labsupport.linux.cgroup.folder import Folder
from labsupport.linux.cgroup.hierarchies import mounts

# PIDs mean something in one PID namespace only, so its inode is in the name, too
_NAME = re.compile(r"labsupport-cgroup-(\d+)-(\d+)-[0-9a-f]{8}-(\d+)-")
_numbers = count(1)


def new_name(name: str = "") -> str:
    """Return a name for a group of this process: `labsupport-cgroup-PID-TIME-BOOT-NAMESPACE-1`."""
    number = f"{next(_numbers)}-{name}" if name else str(next(_numbers))
    return f"{ownership.prefix('cgroup')}{_pid_namespace()}-{number}"


@functools.lru_cache(maxsize=1)  # a process never changes its own
def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def find() -> Iterator[ownership.Leftover]:
    """Find the groups of dead owners, in every mounted tree."""
    found: dict[str, list[Path]] = {}
    here = _pid_namespace()
    for folder in _ours():
        pid, started, namespace = _parts(folder.name)
        if int(namespace) == here and not ownership.is_alive(f"{pid}:{started}"):
            found.setdefault(folder.name, []).append(folder)
    for name, folders in found.items():
        yield ownership.Leftover(f"cgroup {name}", partial(_remove, folders))


def _parts(name: str) -> tuple[str, ...]:
    match = _NAME.match(name)
    assert match  # noqa: S101 (`_ours` gives no others)
    return match.groups()


def _ours() -> Iterator[Path]:
    for kind, _, point, options in mounts():
        if kind not in ("cgroup", "cgroup2") or "ro" in options:
            continue
        for path, inside, _ in os.walk(point):
            named = (Path(path, name) for name in inside if _NAME.match(name))
            yield from (folder for folder in named if _is_ours_to_remove(folder))
            inside[:] = [name for name in inside if not _NAME.match(name)]


def _is_ours_to_remove(folder: Path) -> bool:
    try:
        return os.geteuid() in (0, folder.stat().st_uid)
    except FileNotFoundError:  # another notebook sweeps, too
        return False


def _remove(paths: list[Path]) -> None:
    folders = [Folder(path, _version(path), lambda *_: None) for path in paths if path.is_dir()]
    with contextlib.suppress(CgroupClosed):  # another notebook sweeps, too
        ending.kill(folders)
        ending.remove(folders)


def _version(path: Path) -> int:
    return 2 if (path / "cgroup.type").exists() else 1
