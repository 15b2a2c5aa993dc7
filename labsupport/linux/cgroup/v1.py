"""The controllers of cgroup v1, each on a tree of its own; kernel docs, admin-guide/cgroup-v1."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, ClassVar

from labsupport.errors import BadAmount, CgroupRefused, LimitBelowUsage
from labsupport.linux.cgroup.amounts import CPU_PERIOD_US, shares_of, weight_of
from labsupport.linux.cgroup.controllers import Files, Pids, has_swap, without_swap_file
from labsupport.linux.cgroup.figures import Rates
from labsupport.linux.cgroup.folder import Folder

UNLIMITED = 1 << 62  # what v1 calls no limit is the largest number of pages, in bytes
LIMIT, TOTAL = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
READ_RATE, WRITE_RATE = "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"
CLOCK_FILES = {"cpu_seconds": "cpuacct.usage"}
SERVED = "blkio.throttle.io_service_bytes"

__all__ = ["Cpu", "Io", "Memory", "Pids"]


class Memory:
    """Memory, and memory with swap together: v1 knows no limit for swap alone."""

    limit_files: ClassVar[Files] = {"memory": LIMIT, "swap": TOTAL}
    usage_files: ClassVar[Files] = {
        "memory_bytes": "memory.usage_in_bytes",
        "memory_peak_bytes": "memory.max_usage_in_bytes",
        "swap_bytes": "memory.memsw.usage_in_bytes",
        "oom_kills": "memory.oom_control",
    }

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._counts_swap = folder.has(TOTAL)

    def limit(self, wanted: Mapping[str, Any]) -> None:
        if not {"memory", "swap"} & wanted.keys():
            return
        now = self.limits()
        memory = wanted.get("memory", now["memory_bytes"])
        swap = wanted.get("swap", now["swap_bytes"])
        if not self._counts_swap:
            without_swap_file(TOTAL, wanted.get("swap"))
            self._set(LIMIT, memory, "Limit memory")
            return
        if memory is None and swap is not None:
            raise BadAmount(
                f"swap={swap} without a limit for memory",
                f"cgroup v1 limits memory and swap together ({TOTAL})",
                "give memory= as well, or set swap=None",
            )
        total = None if swap is None else memory + swap
        steps = [(LIMIT, memory, "Limit memory"), (TOTAL, total, "Limit memory and swap together")]
        # the kernel wants the total to be the larger of the two at every moment
        if memory is None or memory > _limit(self.folder, TOTAL):
            steps.reverse()
        for file, amount, what in steps:
            self._set(file, amount, what)

    def _set(self, file: str, amount: int | None, what: str) -> None:
        if amount is None and _limit(self.folder, file) >= UNLIMITED:
            return
        try:
            self.folder.write(file, str(-1 if amount is None else amount), what)
        except CgroupRefused as refused:
            error = refused.__cause__
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                raise self._below_usage(amount) from error
            raise

    def _below_usage(self, amount: int | None) -> LimitBelowUsage:
        return LimitBelowUsage(
            f"memory cannot be limited to {amount} bytes now",
            f"the group uses {self.folder.number('memory.usage_in_bytes')}, and the kernel could "
            "not free enough of it; v1 then refuses the limit (v2 takes it, and kills)",
            "end programs in the group first, or choose a larger limit",
        )

    def limits(self) -> dict[str, Any]:
        memory = _limit(self.folder, LIMIT)
        limited = memory < UNLIMITED
        return {"memory_bytes": memory if limited else None, "swap_bytes": self._swap(memory)}

    def _swap(self, memory: int) -> int | None:
        if not self._counts_swap:
            return None if has_swap() else 0
        total = _limit(self.folder, TOTAL)
        return max(0, total - memory) if total < UNLIMITED else None

    def usage(self) -> dict[str, Any]:
        used = self.folder.number("memory.usage_in_bytes")
        swapped = None
        if self._counts_swap:  # the two are read one after the other, so the difference may be < 0
            swapped = max(0, self.folder.number("memory.memsw.usage_in_bytes") - used)
        return {
            "memory_bytes": used,
            "memory_peak_bytes": self.folder.number("memory.max_usage_in_bytes"),
            "swap_bytes": swapped,
            "oom_kills": self.folder.pairs("memory.oom_control")["oom_kill"],
        }


def _limit(folder: Folder, file: str) -> int:
    return folder.number(file)


class Cpu:
    """CPU time: a quota in each period, a weight against the neighbours, and cpuacct's clock."""

    limit_files: ClassVar[Files] = {"cpu": "cpu.cfs_quota_us", "cpu_weight": "cpu.shares"}
    usage_files: ClassVar[Files] = {
        "periods": "cpu.stat",
        "throttled_periods": "cpu.stat",
        "throttled_seconds": "cpu.stat",
    }

    def __init__(self, folder: Folder, clock: Folder | None) -> None:
        self.folder, self.clock = folder, clock

    def limit(self, wanted: Mapping[str, Any]) -> None:
        if "cpu" in wanted:
            self.folder.write("cpu.cfs_period_us", str(CPU_PERIOD_US), "Count CPU time by 100 ms")
            cpu = wanted["cpu"]
            quota = -1 if cpu is None else round(cpu * CPU_PERIOD_US)
            self.folder.write("cpu.cfs_quota_us", str(quota), "Limit CPU time in each period")
        if "cpu_weight" in wanted:
            shares = shares_of(wanted["cpu_weight"] or 100)
            self.folder.write("cpu.shares", str(shares), "Set the share against neighbours")

    def limits(self) -> dict[str, Any]:
        quota = self.folder.number("cpu.cfs_quota_us")
        period = self.folder.number("cpu.cfs_period_us")
        cpu = None if quota < 0 else quota / period
        return {"cpu": cpu, "cpu_weight": weight_of(self.folder.number("cpu.shares"))}

    def usage(self) -> dict[str, Any]:
        stat = self.folder.pairs("cpu.stat")
        return {
            "cpu_seconds": self.clock.number("cpuacct.usage") / 1e9 if self.clock else None,
            "periods": stat["nr_periods"],
            "throttled_periods": stat["nr_throttled"],
            "throttled_seconds": stat["throttled_time"] / 1e9,
        }


class Io:
    """Bytes per second from and to a disk: reads, and direct writes (v1 sees no others)."""

    limit_files: ClassVar[Files] = {"io read": READ_RATE, "io write": WRITE_RATE}
    usage_files: ClassVar[Files] = {"io_read_bytes": SERVED, "io_written_bytes": SERVED}

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def limit(self, wanted: Mapping[str, Any]) -> None:
        for device, rates in (wanted.get("io") or {}).items():
            for file, rate in ((READ_RATE, rates.read), (WRITE_RATE, rates.write)):
                self.folder.write(
                    file, f"{device} {rate or 0}", "Limit the disk's bytes per second"
                )

    def limits(self) -> dict[str, Any]:
        read, write = (_by_device(self.folder.read(file)) for file in (READ_RATE, WRITE_RATE))
        devices = sorted({*read, *write})
        return {"io": {name: Rates(read.get(name), write.get(name)) for name in devices}}

    def usage(self) -> dict[str, Any]:
        served = {"Read": 0, "Write": 0}
        for line in self.folder.read(SERVED).splitlines():
            _, _, rest = line.partition(" ")
            name, _, amount = rest.partition(" ")
            if name in served:
                served[name] += int(amount)
        return {"io_read_bytes": served["Read"], "io_written_bytes": served["Write"]}


def _by_device(text: str) -> dict[str, int]:
    return {name: int(rate) for name, rate in (line.split() for line in text.splitlines())}
