"""Mounting and unmounting in a sandbox, as mount(8) does, with errors that name cause and remedy.

The kernel answers with one of a few numbers, and each can mean several things; what we find out
about the sandbox's state tells which.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from labsupport.completed import Completed
from labsupport.errors import (
    DriveGone,
    LabError,
    MountBusy,
    MountRefused,
    ProcessGone,
    UnknownFileSystem,
)
from labsupport.linux import procfs
from labsupport.linux.mounts import Mount, mounts
from labsupport.linux.sandbox import Sandbox

_NUMBERS = (
    *(errno.EBUSY, errno.EPERM, errno.EACCES, errno.ENODEV, errno.ENOENT, errno.EINVAL),
    *(errno.ENXIO, errno.ENOTDIR, errno.EROFS),
)


def mount(box: Sandbox, arguments: Sequence[str]) -> Completed:
    """Run `mount` with these arguments in a sandbox: `mount(box, ["--bind", "/data", "/mnt"])`.

    Raises:
        UnknownFileSystem: this kernel has none of that type.
        DriveGone: the device or folder to be mounted is not there.
        MountRefused: the kernel said no; the message says why, as far as we can tell.

    """
    done = box.run(["mount", *arguments])
    if done.returncode:
        raise _mount_error(box, arguments, done)
    return done


def unmount(box: Sandbox, point: str) -> Completed:
    """Run `umount` in a sandbox.

    Raises:
        NotMounted: nothing is mounted there.
        MountBusy: somebody uses it; the message says who.
        MountRefused: the kernel said no for another reason.

    """
    there = mounts(of=box).at(point)
    done = box.run(["umount", point])
    if done.returncode == 0:
        return done
    number = _errno(done.stderr)
    if number == errno.EBUSY:
        raise MountBusy(
            f"{point} cannot be unmounted",
            "; ".join(users(box, there)) or "somebody who cannot be seen from here uses it",
            f"end that program or unmount what lies below; `umount -l {point}` takes it out of "
            "the tree now, and gives it back when its last user is gone",
        )
    raise MountRefused(f"{point} cannot be unmounted", *_why_not(box, number, done.stderr))


def users(box: Sandbox, mount: Mount) -> Iterator[str]:
    """Say who keeps a mount of the sandbox busy: programs in it, and mounts on it."""
    major, minor = map(int, mount.device.split(":"))
    for pid in procfs.members(box):
        try:
            process = procfs.snapshot(pid)
        except ProcessGone:
            continue
        if uses := list(_uses(pid, os.makedev(major, minor))):
            yield f"{process.label} (PID {process.pids[-1]} inside) has {' and '.join(uses)} there"
    for other in mounts(of=box):
        if other.parent_id == mount.id:
            yield f"{other.fstype} {other.source} is mounted at {other.point}, which lies on it"


def _uses(pid: int, device: int) -> Iterator[str]:
    words = {"cwd": "its working folder", "root": "its root", "exe": "its program"}
    folder = Path(f"/proc/{pid}")
    for name, meaning in words.items():
        if _device(folder / name) == device:
            yield meaning
    if any(_device(fd) == device for fd in _files(folder / "fd")):
        yield "an open file"


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it has ended, or is not ours to ask
        return []


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:  # as above
        return None


def _mount_error(box: Sandbox, arguments: Sequence[str], done: Completed) -> LabError:
    number = _errno(done.stderr)
    *_, source, point = ["", "", *arguments]
    what = f"{source} cannot be mounted at {point}"
    if number == errno.ENODEV or "unknown filesystem" in done.stderr:
        fstype = arguments[list(arguments).index("-t") + 1] if "-t" in arguments else "that type"
        return UnknownFileSystem(
            what,
            f"this kernel knows no file system called {fstype}",
            "/proc/filesystems lists those that it knows",
        )
    if number in (errno.ENOENT, errno.ENXIO) and _exists(box, point):
        return DriveGone(
            what, f"there is no {source} in the sandbox", "is the drive open, and its name right?"
        )
    return MountRefused(what, *_why_not(box, number, done.stderr, point))


def _why_not(box: Sandbox, number: int, said: str, point: str = "") -> tuple[str, str]:
    """Why and what to do, for a refusal."""
    if number in (errno.EPERM, errno.EACCES):
        if "user" in box.new:
            return (
                "Operation not permitted: root of a user namespace may mount tmpfs, proc, binds "
                "and overlays, but no disk, and may not undo what came with its copy of the table",
                "take a tmpfs, or be root (the Lab VM makes you that)",
            )
        return "Operation not permitted: it takes CAP_SYS_ADMIN", "see capabilities(7)"
    if number == errno.ENOENT and point:
        return f"there is no {point} in the sandbox", f'box.run(["mkdir", "-p", "{point}"])'
    if number == errno.EBUSY:
        return f"it is mounted at {point} already, or in use", "see mounts(of=box)"
    return said.strip(), "see mount(2), ERRORS"


def _exists(box: Sandbox, path: str) -> bool:
    return box.run(["test", "-e", path]).returncode == 0


def _errno(text: str) -> int:
    """Find the error's number in what a program printed; 0 if there is none that we know."""
    found = (number for number in _NUMBERS if os.strerror(number).lower() in text.lower())
    return next(found, 0)
