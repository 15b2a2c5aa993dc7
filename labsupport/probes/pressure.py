"""Pressure stall information (PSI): how long work waited for CPU, memory and disks."""

from __future__ import annotations

from pathlib import Path

from labsupport.probes.children import Refused


def psi() -> str:
    """Pressure stall information for CPU, memory and disks can be read."""
    folder = Path("/proc/pressure")
    if not folder.exists():
        raise Refused(
            "this kernel gives no pressure information (/proc/pressure is missing)",
            "a kernel with CONFIG_PSI, started with psi=1",
        )
    try:
        lines = [(folder / name).read_text() for name in ("cpu", "memory", "io")]
    except OSError as error:
        raise Refused(
            f"{error.filename} cannot be read: {error.strerror}", "start the kernel with psi=1"
        ) from error
    if not all(line.startswith("some avg10=") for line in lines):
        raise Refused(f"/proc/pressure holds something unknown: {lines[0]!r}")
    return "cpu, memory, io"


PROBES = {"psi": psi}
