"""What every controller offers, whichever its version; and what v1 and v2 have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from labsupport.errors import MissingController
from labsupport.linux.cgroup.folder import Folder

SWAPS = Path("/proc/swaps")
Files = Mapping[str, str]


class Controller(Protocol):
    """One controller of one group: its limits by the words of `Cgroup(...)`, its part of `Usage`.

    `limit_files` and `usage_files` map those words to file names.
    """

    folder: Folder
    limit_files: ClassVar[Files]
    usage_files: ClassVar[Files]

    def limit(self, wanted: Mapping[str, Any]) -> None:
        """Set those of this controller's limits that are in `wanted`; None takes one away."""

    def limits(self) -> dict[str, Any]:
        """Read the limits back, by the names in `Limits`."""

    def usage(self) -> dict[str, Any]:
        """Read the counters, by the names in `Usage`."""


class Pids:
    """How many tasks there may be; the files are the same in v1 and v2."""

    limit_files: ClassVar[Files] = {"pids": "pids.max"}
    usage_files: ClassVar[Files] = {"pids": "pids.current", "pids_refused": "pids.events"}

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        # before Linux 4.3 … 4.7 there were no events; a group that cannot tell says None
        self._has_events = folder.has("pids.events")

    def limit(self, wanted: Mapping[str, Any]) -> None:
        if "pids" in wanted:
            self.folder.write("pids.max", or_max(wanted["pids"]), "Limit the number of tasks")

    def limits(self) -> dict[str, Any]:
        return {"pids": unless_max(self.folder.read("pids.max"))}

    def usage(self) -> dict[str, Any]:
        refused = self.folder.pairs("pids.events")["max"] if self._has_events else None
        return {"pids": self.folder.number("pids.current"), "pids_refused": refused}


def or_max(amount: int | None) -> str:
    """Write a limit as cgroup v2 does."""
    return "max" if amount is None else str(amount)


def unless_max(text: str) -> int | None:
    """Read a limit as cgroup v2 writes it."""
    return None if text == "max" else int(text)


def has_swap() -> bool:
    """Tell whether this machine has any swap space; swapon(8)."""
    return len(SWAPS.read_text().splitlines()) > 1


def without_swap_file(file: str, wanted: int | None) -> None:
    """Accept that swap cannot be limited if there is none, or if no limit is wanted.

    Raises:
        MissingController: a limit is wanted and the kernel does not count groups' swap.

    """
    if wanted is None or (wanted == 0 and not has_swap()):
        return
    raise MissingController(
        "swap cannot be limited here",
        f"groups have no {file}: this kernel does not count their swap",
        "boot a kernel with CONFIG_SWAP and without swapaccount=0; or switch swap off: swapoff -a",
    )
