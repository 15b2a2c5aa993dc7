"""A group's folder and its files: what is asked of them and what they say, in cgroup v1 and in v2.

A notebook asks in bytes, seconds and shares of one CPU; amounts are checked (`understood`) before
anything is made. `FILES` and `COUNTERS` say for each version which file has what, and how it is
written and read. See the kernel's documents admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from labsupport.errors import (
    CgroupClosed,
    CgroupRefused,
    InternalProcesses,
    LabError,
    LimitBelowUsage,
    MissingController,
    ProcessGone,
    nearest,
)
from labsupport.kernel.mounts import V1_NAME, groups_of, trees

SWAPS = Path("/proc/swaps")
READ_BYTES = 1 << 14
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# --- what is asked, and what is told ------------------------------------------------------------

LEAST_CPU = 0.01  # a millisecond in each period of 100 ms: the kernel accepts no less
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_FORMS = 'write a number of bytes (64e6, 67108864) or "64M", "1.5G" (K, M, G, T: powers of 1024)'
_DISKS = 'write {"/dev/loop0": "2M"}, or the device\'s number: {"7:0": "2M"}; see lsblk'

Amount = int | float | str
Disks = Mapping[str, Amount | None]


@dataclass(frozen=True)
class Usage:
    """What a group uses, as the kernel counts it. None: no such controller, or no such counter.

    Bytes and seconds; `pids` counts tasks, threads among them, as the kernel does. Memory includes
    the page cache that the group's programs filled. Counters (`cpu_seconds`, `periods`,
    `oom_kills`, `pids_refused`, …) count from the group's beginning.

    A period is 100 ms. It counts in `periods` if anything wanted to run in it, and in
    `throttled_periods` if the group had to stop for the rest of it.
    """

    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    swap_bytes: int | None = None
    oom_kills: int | None = None
    cpu_seconds: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    pids: int | None = None
    pids_refused: int | None = None
    io_written_bytes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a group may use, as read back from the kernel. None: no limit (or no controller).

    `cpu` is in shares of one CPU, `cpu_weight` is 1 to 10000 (100 is everybody's default), `io`
    maps a disk's number (`"7:0"`) to bytes per second, in each direction.
    """

    memory_bytes: int | None = None
    swap_bytes: int | None = None
    pids: int | None = None
    cpu: float | None = None
    cpu_weight: int | None = None
    io: Mapping[str, int] = field(default_factory=dict)


def understood(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check what was given to `Cgroup(...)`: bytes, counts, shares, `{disk number: rate}`.

    Raises `LabError`: something cannot be understood; the message tells the accepted forms.
    """
    for word in given.keys() - _READ.keys():
        raise LabError(f"a group has no limit {word!r}", nearest(word, _READ))
    return {
        word: None if amount is None else _READ[word](amount)
        for word, amount in given.items()
        if word != "io" or amount is not None
    }


def bytes_of(amount: Amount, what: str, least: int = 1) -> int:
    """Return an amount of memory in bytes: `"64M"` is 67108864, and so is 67108864.

    Raises `LabError`: it is neither, or more than 0 and less than `least`, which would become 0.
    """
    if isinstance(amount, str) and (found := _BYTES.fullmatch(amount.strip())):
        size = float(found[1]) * UNITS[found[2].upper()]
    elif _is_number(amount) and amount >= 0 and amount == int(amount):
        size = float(amount)
    else:
        raise LabError(f"{what}={amount!r} is not a number of bytes", "", _FORMS)
    if 0 < size < least:
        raise LabError(
            f"{what}={amount!r} is too little", f"less than {least} bytes would become 0", _FORMS
        )
    return int(amount if _is_number(amount) else size)


def count_of(amount: object, what: str, least: int = 0, most: int = 1 << 22) -> int:
    """Return a whole number between `least` and `most`, or raise LabError."""
    if _is_number(amount) and amount == int(amount) and least <= amount <= most:
        return int(amount)
    raise LabError(f"{what}={amount!r}", f"a whole number from {least} to {most} is wanted")


def _cpus(amount: object) -> float:
    """Read shares of one CPU; more than there are would limit nothing."""
    most = os.cpu_count() or 1
    if _is_number(amount) and LEAST_CPU <= amount <= most:
        return float(amount)
    why = f"the kernel takes at least {LEAST_CPU} (1 ms in every 100 ms)"
    remedy = "write 0.2 for a fifth of one CPU, 1 for a whole one"
    raise LabError(f"cpu={amount!r} is not a share of this machine's {most} CPUs", why, remedy)


def _is_number(amount: object) -> TypeGuard[int | float]:
    return (
        isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount)
    )


def device_of(disk: str | os.PathLike[str]) -> str:
    """Return `MAJOR:MINOR` of a whole disk: `/dev/loop0`, or already `7:0`; sysfs(5)."""
    path = os.fspath(disk)
    if re.fullmatch(r"\d+:\d+", path):
        return path
    try:
        found = os.stat(path)
    except OSError as error:
        raise LabError(f"io={path!r} is not a disk", str(error.strerror), _DISKS) from error
    if not stat.S_ISBLK(found.st_mode):
        raise LabError(f"io={path!r} is not a disk", "it is not a block device", _DISKS)
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    entry = Path(f"/sys/dev/block/{number}")
    whole = entry.resolve().parent if (entry / "partition").exists() else entry
    return (whole / "dev").read_text().strip() if whole != entry else number


def _disks(disks: Disks) -> dict[str, int | None]:
    if not isinstance(disks, Mapping):
        raise LabError(f"io={disks!r} names no disk", "each disk has its own limit", _DISKS)
    return {device_of(disk): _rate(rate) for disk, rate in disks.items()}


def _rate(amount: Amount | None) -> int | None:
    """Return bytes per second. 0 is refused: v1 takes it for no limit, and v2 does not take it."""
    rate = None if amount is None else bytes_of(amount, "io")
    if rate == 0:
        raise LabError("io=0 is not a rate", "the kernel takes at least 1 byte per second", _DISKS)
    return rate


_READ: dict[str, Callable[[Any], Any]] = {
    # the kernel counts whole pages: less than one would become 0, which kills everything
    "memory": lambda amount: bytes_of(amount, "memory", PAGE_BYTES),
    "swap": lambda amount: bytes_of(amount, "swap", PAGE_BYTES),
    "pids": lambda amount: count_of(amount, "pids"),
    "cpu": _cpus,
    "cpu_weight": lambda amount: count_of(amount, "cpu_weight", 1, 10_000),
    "io": _disks,
}

# --- a folder and its files ----------------------------------------------------------------------


class Folder:
    """One folder in one tree.

    Its files are read through descriptors that stay open: that takes 2 µs, a twentieth of the time
    of opening the file each time, and the live curves depend on it.
    """

    def __init__(self, path: Path, version: int) -> None:
        self.path, self.version = path, version
        self._descriptors: dict[str, int] = {}

    def make(self) -> None:
        try:
            self.path.mkdir()
        except OSError as error:
            raise refusal(error, self.path, "make") from error

    def has(self, file: str) -> bool:
        return file in self._descriptors or (self.path / file).exists()

    def read(self, file: str) -> str:
        """Return what the kernel says in a file, without the newline at its end."""
        try:
            if (fd := self._descriptors.get(file)) is None:
                fd = self._descriptors[file] = os.open(self.path / file, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(fd, READ_BYTES, 0).decode().rstrip("\n")
        except OSError as error:
            raise refusal(error, self.path / file, "read") from error

    def number(self, file: str, name: str = "") -> int:
        """Return the number in a file, or the one after a name, as in `nr_periods 7`."""
        return after(name, 1)(self.read(file)) if name else int(self.read(file))

    def write(self, file: str, text: str) -> None:
        try:
            put(self.path / file, text)
        except OSError as error:
            raise refusal(error, self.path / file, f"write {text!r} to") from error

    def processes(self) -> list[int]:
        """Return the PIDs in the group itself, those in groups below it left out."""
        try:
            return sorted({int(word) for word in get(self.path / "cgroup.procs").split()})
        except OSError as error:
            raise refusal(error, self.path / "cgroup.procs", "read") from error

    def close(self) -> None:
        """Give the descriptors back."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def get(path: Path | str) -> str:
    """Read a kernel's file that may be long, in a third of the time that `open` takes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(partial(os.read, fd, READ_BYTES), b"")).decode()
    finally:
        os.close(fd)


def put(path: Path | str, text: str) -> None:
    """Write to a kernel's file without making it if it is not there."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def refusal(error: OSError, path: Path, doing: str) -> LabError:
    """Say why the kernel refused to read or write a group's file; cgroups(7), ERRORS."""
    what = f"the kernel refused to {doing} {path}"
    said = os.strerror(error.errno or 0)
    if error.errno == errno.EBUSY and path.name in ("cgroup.subtree_control", "cgroup.procs"):
        return InternalProcesses(path.parent)
    if error.errno == errno.ESRCH and path.name == "cgroup.procs":
        return ProcessGone(what, "the process has ended")
    if error.errno in (errno.ENOENT, errno.ENODEV):
        if path.parent.is_dir():
            return CgroupRefused(what, "this kernel's groups have no such file")
        return CgroupClosed(what, "the group has been removed", "make a new Cgroup")
    why, remedy = said, ""
    if error.errno in (errno.EACCES, errno.EPERM):
        why, remedy = f"{said}: the group belongs to somebody else", "run it as root"
    elif error.errno == errno.EINVAL:
        why = (
            f"{said}; a group may not get more CPU time than the group above it has (v1), and the "
            "number must be one that the kernel knows"
        )
        remedy = f"look at the group above: ls {path.parent.parent}"
    return CgroupRefused(what, why, remedy)


# --- counters: what a file says, as a number of `Usage` -----------------------------------------


def after(name: str, unit: float) -> Callable[[str], Any]:
    """Return a reader of the number after a name, as in `throttled_usec 7`, divided by `unit`.

    It reads None where this kernel does not count that.
    """

    def read(text: str) -> float | None:
        found = text.split()
        if name not in found:
            return None
        number = int(found[found.index(name) + 1])
        return number if unit == 1 else number / unit

    return read


def total(before: str) -> Callable[[str], int]:
    """Return a function that adds up the numbers after some text, one for each disk."""
    return lambda text: sum(map(int, re.findall(rf"(?<={before})\d+", text)))


SERVED = "blkio.throttle.io_service_bytes"
Counter = tuple[str, str, Callable[[str], float | None]]
PIDS_COUNTERS: Mapping[str, Counter] = {
    "pids": ("pids", "pids.current", int),
    "pids_refused": ("pids", "pids.events", after("max", 1)),  # since Linux 4.3 … 4.7
}
COUNTERS: Mapping[int, Mapping[str, Counter]] = {
    1: {
        "memory_bytes": ("memory", "memory.usage_in_bytes", int),
        "memory_peak_bytes": ("memory", "memory.max_usage_in_bytes", int),
        "swap_bytes": ("memory", "memory.memsw.usage_in_bytes", int),  # with memory: see `usage`
        "oom_kills": ("memory", "memory.oom_control", after("oom_kill", 1)),
        "cpu_seconds": ("cpuacct", "cpuacct.usage", lambda text: int(text) / 1e9),
        "periods": ("cpu", "cpu.stat", after("nr_periods", 1)),
        "throttled_periods": ("cpu", "cpu.stat", after("nr_throttled", 1)),
        "throttled_seconds": ("cpu", "cpu.stat", after("throttled_time", 1e9)),
        "io_written_bytes": ("io", SERVED, total(" Write ")),  # direct ones: v1 does not see others
        **PIDS_COUNTERS,
    },
    2: {
        "memory_bytes": ("memory", "memory.current", int),
        "memory_peak_bytes": ("memory", "memory.peak", int),  # since Linux 5.19
        "swap_bytes": ("memory", "memory.swap.current", int),
        "oom_kills": ("memory", "memory.events", after("oom_kill", 1)),
        "cpu_seconds": ("", "cpu.stat", after("usage_usec", 1e6)),  # each group counts that
        "periods": ("cpu", "cpu.stat", after("nr_periods", 1)),
        "throttled_periods": ("cpu", "cpu.stat", after("nr_throttled", 1)),
        "throttled_seconds": ("cpu", "cpu.stat", after("throttled_usec", 1e6)),
        "io_written_bytes": ("io", "io.stat", total("wbytes=")),
        **PIDS_COUNTERS,
    },
}

# --- limits: what is written for a value, and which value a file says ---------------------------

UNLIMITED = 1 << 62  # v1's memory without a limit: the largest number of pages, in bytes
PERIOD_US = 100_000  # of a quota: the kernel's own default, and Docker's
MEMORY, TOTAL = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
READ_RATE, WRITE_RATE = "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"


FILES: Mapping[int, Mapping[str, tuple[str, str]]] = {
    1: {
        "memory": ("memory", MEMORY),
        "swap": ("memory", TOTAL),
        "pids": ("pids", "pids.max"),
        "cpu": ("cpu", "cpu.cfs_quota_us"),
        "cpu_weight": ("cpu", "cpu.shares"),
        "io read": ("io", READ_RATE),
        "io write": ("io", WRITE_RATE),
    },
    2: {
        "memory": ("memory", "memory.max"),
        "swap": ("memory", "memory.swap.max"),
        "pids": ("pids", "pids.max"),
        "cpu": ("cpu", "cpu.max"),
        "cpu_weight": ("cpu", "cpu.weight"),
        "io": ("io", "io.max"),
    },
}
"""For each limit the controller and its file; `lines_for` and `value_of` say what is in there."""


def lines_for(folder: Folder, word: str, amount: Any) -> list[str]:
    """Return what to write for a limit; None: for no limit."""
    is_v1 = folder.version == 1
    if word.startswith("io"):
        line = "{0} {2}" if is_v1 else "{0} rbps={1} wbps={1}"
        return [line.format(disk, or_max(rate), rate or 0) for disk, rate in amount.items()]
    if word == "cpu":
        period = folder.number("cpu.cfs_period_us") if is_v1 else PERIOD_US
        quota = None if amount is None else round(amount * period)
        return [("-1" if quota is None else str(quota)) if is_v1 else f"{or_max(quota)} {period}"]
    if word == "cpu_weight":
        return [str(shares_of(amount or 100) if is_v1 else amount or 100)]
    return [or_max(amount)]


def value_of(folder: Folder, word: str, text: str) -> Any:
    """Read a limit back; None: there is none."""
    if word.startswith("io"):  # 7:0 1048576; or 7:0 rbps=max wbps=1048576 riops=max wiops=max
        found = re.findall(r"^(\S+) (?:rbps=.*wbps=)?(\d+)", text, re.MULTILINE)
        return {disk: int(rate) for disk, rate in found}
    if word == "cpu":
        quota, *period = text.split()
        whole = int(period[0]) if period else folder.number("cpu.cfs_period_us")
        return None if quota in ("max", "-1") else int(quota) / whole
    if word == "cpu_weight":
        return weight_of(int(text)) if folder.version == 1 else int(text)
    if text == "max" or int(text) >= UNLIMITED:
        return None
    # v1 limits memory and swap together; the two files are not read at the same moment
    with_memory = word == "swap" and folder.version == 1
    return max(0, int(text) - folder.number(MEMORY)) if with_memory else int(text)


def or_max(amount: int | None) -> str:
    """Write a limit as cgroup v2 does."""
    return "max" if amount is None else str(amount)


def shares_of(weight: int) -> int:
    """Return v1's `cpu.shares` for a weight, as the kernel and systemd convert it: 1024 for 100."""
    return max(2, round(weight * 1024 / 100))


def weight_of(shares: int) -> int:
    """Return the weight for v1's `cpu.shares`."""
    return max(1, round(shares * 100 / 1024))


def controllers_for(words: Iterable[str]) -> set[str]:
    """Return the controllers that limits with these words need."""
    return {FILES[2][word][0] for word in words}


def has_swap() -> bool:
    """Tell whether this machine has any swap space; swapon(8)."""
    return SWAPS.exists() and len(SWAPS.read_text().splitlines()) > 1  # not without CONFIG_SWAP


class GroupFiles:
    """The files of one group: `{controller: its folder}`, several on one folder in v2."""

    def __init__(self, folders: Mapping[str, Folder]) -> None:
        self.of = folders
        self.folders = list(dict.fromkeys(folders.values()))
        """One for each tree."""
        self._limits: dict[str, tuple[Folder, str]] = dict(self._found(FILES))
        self._counters: dict[str, tuple[Folder, str, Callable[[str], float | None]]]
        self._counters = dict(self._found(COUNTERS))

    def _found(self, table: Mapping[int, Mapping[str, tuple[Any, ...]]]) -> Iterator[Any]:
        """Yield what the group has of a table, with its folder; each group of v2 has that of ""."""
        places = [("", folder) for folder in self.folders if folder.version == 2]
        names = ("memory", "pids", "cpuacct", "cpu", "io")
        places += [(name, self.of[name]) for name in names if name in self.of]
        for name, folder in places:
            for word, (controller, file, *how) in table[folder.version].items():
                if controller == name and folder.has(file):
                    yield word, (folder, file, *how)

    def limit(self, wanted: Mapping[str, Any]) -> None:
        """Set limits that `limits.understood` has checked; swap first, then the others."""
        memory = self.of.get("memory")
        if memory and "swap" in wanted and "swap" not in self._limits:
            without_swap_file(FILES[memory.version]["swap"][1], wanted["swap"])
        if memory and memory.version == 1 and {"memory", "swap"} & wanted.keys():
            self._limit_v1_memory(memory, wanted)
        for word in sorted(self._limits, key=lambda word: word != "swap"):
            folder, file = self._limits[word]
            if (key := word.partition(" ")[0]) in wanted and file not in (MEMORY, TOTAL):
                for line in lines_for(folder, word, wanted[key]):
                    folder.write(file, line)

    def _limit_v1_memory(self, folder: Folder, wanted: Mapping[str, Any]) -> None:
        now = self.limits()
        memory = wanted.get("memory", now.memory_bytes)
        swap = wanted.get("swap", now.swap_bytes)
        steps = [("memory", memory)]
        if "swap" in self._limits:
            if memory is None and swap is not None:
                why = f"cgroup v1 limits memory and swap together ({TOTAL})"
                remedy = "give memory= as well, or set swap=None"
                raise LabError(f"swap={swap} without a limit for memory", why, remedy)
            steps.append(("swap", None if swap is None else memory + swap))
            # the kernel wants the total to be the larger of the two at every moment
            if memory is None or memory > folder.number(TOTAL):
                steps.reverse()
        for word, amount in steps:
            _set_v1_memory(folder, FILES[1][word][1], amount)

    def limits(self) -> Limits:
        said = {
            word: value_of(folder, word, folder.read(file))
            for word, (folder, file) in self._limits.items()
        }
        if "memory" in said and "swap" not in said and not has_swap():
            said["swap"] = 0
        return Limits(
            said.get("memory"), said.get("swap"), said.get("pids"), said.get("cpu"),
            said.get("cpu_weight"), said.get("io", said.get("io write", {})),
        )  # fmt: skip

    def usage(self) -> Usage:
        """Read all counters; each file once, so that its numbers are of one moment."""
        said: dict[tuple[Path, str], str] = {}
        found: dict[str, Any] = {}
        for name, (folder, file, read) in self._counters.items():
            place = (folder.path, file)
            if place not in said:
                said[place] = folder.read(file)
            found[name] = read(said[place])
        memory = self.of.get("memory")
        if memory and memory.version == 1 and "swap_bytes" in found:
            # the two were read one after the other, so the difference may be negative
            found["swap_bytes"] = max(0, found["swap_bytes"] - found["memory_bytes"])
        return Usage(**found)

    def limit_files(self) -> LimitFiles:
        return LimitFiles(
            (word, (folder.path / file, folder.read(file)))
            for word, (folder, file) in self._limits.items()
        )


def _set_v1_memory(folder: Folder, file: str, amount: int | None) -> None:
    if amount is None and folder.number(file) >= UNLIMITED:
        return
    try:
        folder.write(file, str(-1 if amount is None else amount))
    except CgroupRefused as refused:
        if not isinstance(refused.__cause__, OSError) or refused.__cause__.errno != errno.EBUSY:
            raise
        raise LimitBelowUsage(
            f"memory cannot be limited to {amount} bytes now",
            f"the group uses {folder.number('memory.usage_in_bytes')}, and the kernel could "
            "not free enough of it; v1 then refuses the limit (v2 takes it, and kills)",
            "end programs in the group first, or choose a larger limit",
        ) from refused.__cause__


def without_swap_file(file: str, wanted: int | None) -> None:
    """Accept that swap cannot be limited if there is none, or if no limit is wanted."""
    if wanted is None or (wanted == 0 and not has_swap()):
        return
    why = f"groups have no {file}: this kernel does not count their swap"
    remedy = "boot a kernel with CONFIG_SWAP, without swapaccount=0; or switch swap off: swapoff -a"
    raise MissingController("swap cannot be limited here", why, remedy)


# --- the limits of any process, and limits as a table -------------------------------------------


def files_of(pid: int | str) -> LimitFiles:
    """Return the limits' files of the group that a process is in, however it got there.

    A limit is missing if the group has no such file: no controller, or the root group of v2,
    which has no limits at all. Raises `ProcessGone`.
    """
    try:
        groups = groups_of(pid)
    except FileNotFoundError:
        raise ProcessGone(f"process {pid} is in no group", "it has ended") from None
    folders = {}
    for name, tree in trees().items():
        path = groups.get(V1_NAME.get(name, name) if tree.version == 1 else "", "/")
        # /proc writes it as seen from the tree's own root
        inside = path.removeprefix(tree.root) if tree.root != "/" else path
        folders[name] = Folder(tree.mount / inside.lstrip("/"), tree.version)
    try:
        return GroupFiles(folders).limit_files()
    finally:
        for folder in folders.values():
            folder.close()


class LimitFiles(dict[str, tuple[Path, str]]):
    """`{limit: (its file, what the file says)}`, displayed as lines."""

    def __repr__(self) -> str:
        lines = [f"{word:<11}{path.name}: {_says(text)}" for word, (path, text) in self.items()]
        folders = sorted({str(path.parent) for path, _ in self.values()})
        return "\n".join([*lines, *(f"in {folder}" for folder in folders)])


def _says(text: str) -> str:
    """Quote a limit's file; v1's number for "no limit" is explained."""
    if text == "-1" or (text.isdigit() and int(text) >= UNLIMITED):
        return f"{text} (no limit)"
    return text or "(nothing: no limit)"
