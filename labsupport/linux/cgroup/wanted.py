"""From what a notebook writes to what the controllers take: amounts checked, devices looked up."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labsupport.errors import BadAmount
from labsupport.linux.cgroup.amounts import Amount, bytes_of, count_of, cpus_of
from labsupport.linux.cgroup.figures import Rates

Rate = Amount | Mapping[str, Amount | None] | None
Disks = Mapping[str, Rate]
CONTROLLER_OF = {
    "memory": "memory",
    "swap": "memory",
    "pids": "pids",
    "cpu": "cpu",
    "cpu_weight": "cpu",
    "io": "io",
}
_READ: dict[str, Callable[[Any], float]] = {
    "memory": lambda amount: bytes_of(amount, "memory"),
    "swap": lambda amount: bytes_of(amount, "swap"),
    "pids": lambda amount: count_of(amount, "pids"),
    "cpu": lambda amount: cpus_of(amount, "cpu"),
    "cpu_weight": lambda amount: count_of(amount, "cpu_weight", 1, 10_000),
}


def understood(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check what was given to `Cgroup(...)`: bytes, counts, shares, `{device number: Rates}`.

    Raises:
        BadAmount: something in it is none; the message tells the accepted forms.

    """
    found: dict[str, Any] = {
        word: None if amount is None else _READ[word](amount)
        for word, amount in given.items()
        if word != "io"
    }
    if given.get("io") is not None:
        found["io"] = {device_of(disk): _rates(rate) for disk, rate in given["io"].items()}
    return found


def controllers_for(limits: Mapping[str, Any]) -> set[str]:
    """Return the controllers that these limits need."""
    return {CONTROLLER_OF[word] for word in limits}


def device_of(disk: str | os.PathLike[str]) -> str:
    """Return `MAJOR:MINOR` of a block device: `/dev/loop0`, or already `7:0`."""
    path = os.fspath(disk)
    if re.fullmatch(r"\d+:\d+", path):
        return path
    try:
        found = os.stat(path)
    except OSError as error:
        raise BadAmount(f"io={path!r} is no disk", os.strerror(error.errno or 0), _DISKS) from error
    if not stat.S_ISBLK(found.st_mode):
        raise BadAmount(f"io={path!r} is no disk", "it is no block device", _DISKS)
    return _whole_disk(found.st_rdev)


def device_below(folder: str | os.PathLike[str]) -> str:
    """Return `MAJOR:MINOR` of the disk that a folder's files lie on (0:… if they lie on none)."""
    return _whole_disk(os.stat(folder).st_dev)


def _whole_disk(device: int) -> str:
    """Limits are for disks: of a partition, take the disk that it is a part of; sysfs(5)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    entry = Path(f"/sys/dev/block/{number}")
    if (entry / "partition").exists():
        return (entry.resolve().parent / "dev").read_text().strip()
    return number


_DISKS = 'write {"/dev/loop0": "2M"}, or the device\'s number: {"7:0": "2M"}; see lsblk'


def _rates(rate: Rate) -> Rates:
    if rate is None:
        return Rates()
    if not isinstance(rate, Mapping):
        both = bytes_of(rate, "io")
        return Rates(both, both)
    if unknown := sorted(rate.keys() - {"read", "write"}):
        raise BadAmount(f"io has no {unknown[0]!r}", "a disk has the rates read and write")
    read, write = (rate.get(way) for way in ("read", "write"))
    return Rates(
        None if read is None else bytes_of(read, "io read"),
        None if write is None else bytes_of(write, "io write"),
    )
