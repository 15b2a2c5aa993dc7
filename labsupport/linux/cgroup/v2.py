"""The controllers of cgroup v2, all on one tree; kernel docs, admin-guide/cgroup-v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from labsupport.linux.cgroup.amounts import CPU_PERIOD_US
from labsupport.linux.cgroup.controllers import (
    Files,
    Pids,
    has_swap,
    or_max,
    unless_max,
    without_swap_file,
)
from labsupport.linux.cgroup.figures import Rates
from labsupport.linux.cgroup.folder import Folder

__all__ = ["Cpu", "Io", "Memory", "Pids"]


class Memory:
    """Memory, and swap: two limits."""

    limit_files: ClassVar[Files] = {"memory": "memory.max", "swap": "memory.swap.max"}
    usage_files: ClassVar[Files] = {
        "memory_bytes": "memory.current",
        "memory_peak_bytes": "memory.peak",
        "swap_bytes": "memory.swap.current",
        "oom_kills": "memory.events",
    }

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._counts_swap = folder.has("memory.swap.max")
        self._has_peak = folder.has("memory.peak")  # since Linux 5.19

    def limit(self, wanted: Mapping[str, Any]) -> None:
        if "swap" in wanted and not self._counts_swap:
            without_swap_file("memory.swap.max", wanted["swap"])
        elif "swap" in wanted:
            self.folder.write("memory.swap.max", or_max(wanted["swap"]), "Limit swap")
        if "memory" in wanted:
            self.folder.write("memory.max", or_max(wanted["memory"]), "Limit memory")

    def limits(self) -> dict[str, Any]:
        return {
            "memory_bytes": unless_max(self.folder.read("memory.max")),
            "swap_bytes": self._swap(),
        }

    def _swap(self) -> int | None:
        if self._counts_swap:
            return unless_max(self.folder.read("memory.swap.max"))
        return None if has_swap() else 0

    def usage(self) -> dict[str, Any]:
        swapped = self.folder.number("memory.swap.current") if self._counts_swap else None
        return {
            "memory_bytes": self.folder.number("memory.current"),
            "memory_peak_bytes": self.folder.number("memory.peak") if self._has_peak else None,
            "swap_bytes": swapped,
            "oom_kills": self.folder.pairs("memory.events")["oom_kill"],
        }


class Cpu:
    """CPU time: a quota in each period, and a weight against the neighbours."""

    limit_files: ClassVar[Files] = {"cpu": "cpu.max", "cpu_weight": "cpu.weight"}
    usage_files: ClassVar[Files] = dict.fromkeys(
        ("cpu_seconds", "periods", "throttled_periods", "throttled_seconds"), "cpu.stat"
    )

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def limit(self, wanted: Mapping[str, Any]) -> None:
        if "cpu" in wanted:
            cpu = wanted["cpu"]
            quota = or_max(None if cpu is None else round(cpu * CPU_PERIOD_US))
            line = f"{quota} {CPU_PERIOD_US}"
            self.folder.write("cpu.max", line, "Limit CPU time in each period of 100 ms")
        if "cpu_weight" in wanted:
            weight = str(wanted["cpu_weight"] or 100)
            self.folder.write("cpu.weight", weight, "Set the share against neighbours")

    def limits(self) -> dict[str, Any]:
        quota, period = self.folder.read("cpu.max").split()
        cpu = None if quota == "max" else int(quota) / int(period)
        return {"cpu": cpu, "cpu_weight": self.folder.number("cpu.weight")}

    def usage(self) -> dict[str, Any]:
        stat = self.folder.pairs("cpu.stat")
        return {
            "cpu_seconds": stat["usage_usec"] / 1e6,
            "periods": stat["nr_periods"],
            "throttled_periods": stat["nr_throttled"],
            "throttled_seconds": stat["throttled_usec"] / 1e6,
        }


class Clock:
    """The CPU time that every v2 group counts, where the cpu controller is not handed down."""

    limit_files: ClassVar[Files] = {}
    usage_files: ClassVar[Files] = {"cpu_seconds": "cpu.stat"}

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def limit(self, wanted: Mapping[str, Any]) -> None:
        """There is nothing to be set."""

    def limits(self) -> dict[str, Any]:
        return {}

    def usage(self) -> dict[str, Any]:
        return {"cpu_seconds": self.folder.pairs("cpu.stat")["usage_usec"] / 1e6}


class Io:
    """Bytes per second from and to a disk."""

    limit_files: ClassVar[Files] = {"io": "io.max"}
    usage_files: ClassVar[Files] = {"io_read_bytes": "io.stat", "io_written_bytes": "io.stat"}

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def limit(self, wanted: Mapping[str, Any]) -> None:
        for device, rates in (wanted.get("io") or {}).items():
            line = f"{device} rbps={or_max(rates.read)} wbps={or_max(rates.write)}"
            self.folder.write("io.max", line, "Limit the disk's bytes per second")

    def limits(self) -> dict[str, Any]:
        found = {}
        for device, values in _by_device(self.folder.read("io.max")).items():
            rates = Rates(unless_max(values["rbps"]), unless_max(values["wbps"]))
            if rates != Rates():
                found[device] = rates
        return {"io": found}

    def usage(self) -> dict[str, Any]:
        stat = _by_device(self.folder.read("io.stat")).values()
        return {
            "io_read_bytes": sum(int(values.get("rbytes", 0)) for values in stat),
            "io_written_bytes": sum(int(values.get("wbytes", 0)) for values in stat),
        }


def _by_device(text: str) -> dict[str, dict[str, str]]:
    """Read lines such as `7:0 rbps=max wbps=1048576`."""
    found = {}
    for line in text.splitlines():
        device, *values = line.split()
        found[device] = {name: value for name, _, value in (v.partition("=") for v in values)}
    return found
