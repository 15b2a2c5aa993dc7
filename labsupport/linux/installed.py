"""How much is installed on this machine, as its package manager says: a whole user space.

An image may bring one program; what an operating system brings is counted here, the kernel apart.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labsupport.errors import MissingCapability

MANAGERS: Mapping[str, tuple[Sequence[str], int]] = {
    "dpkg-query": (("-W", "-f", "${db:Status-Status} ${Priority} ${Installed-Size}\\n"), 1024),
    "rpm": (("-qa", "--qf", "installed - %{SIZE}\\n"), 1),
}
"""Each one's question, and how many bytes its unit is."""
BASE = ("required", "important", "standard")  # priorities; Debian's installer takes these by itself


@dataclass(frozen=True)
class Installed:
    """All packages of a machine, and those that every Debian begins with (0 where there are none).

    Neither counts what users have put on the disk.
    """

    manager: str
    packages: int
    size_bytes: int
    base_packages: int
    base_bytes: int

    def __repr__(self) -> str:
        base = f" (a bare system: {self.base_packages}, {self.base_bytes / 1e6:.0f} MB)"
        size = f"{self.size_bytes / 1e9:.2f} GB{base if self.base_packages else ''}"
        return f"<{self.packages} packages, {size}, as {self.manager} says>"


def installed() -> Installed:
    """Ask this machine's package manager what is installed, and how large that is.

    Raises:
        MissingCapability: there is none that we know (dpkg or rpm).

    """
    for manager, (question, unit) in MANAGERS.items():
        if program := shutil.which(manager):
            done = subprocess.run([program, *question], capture_output=True, text=True, check=True)
            lines = [line.split() for line in done.stdout.splitlines()]
            found = [(line[1], unit * int(line[2])) for line in lines if _is_installed(line)]
            base = [size for priority, size in found if priority in BASE]
            total = sum(size for _, size in found)
            if found:
                return Installed(manager, len(found), total, len(base), sum(base))
    raise MissingCapability("dpkg or rpm", "no package manager that we know has anything to say")


def _is_installed(line: Sequence[str]) -> bool:
    return len(line) == 3 and line[0] == "installed" and line[2].isdigit()
