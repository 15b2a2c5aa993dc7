"""Amounts of bytes as people write them, in powers of 1000 as `docker history` has them."""

from __future__ import annotations

UNITS = ("B", "kB", "MB", "GB", "TB")


def amount(size_bytes: float) -> str:
    """Write a number of bytes with three digits at most: 155 kB, 6.66 MB, 0 B."""
    size = float(size_bytes)
    for unit in UNITS:
        if abs(size) < 999.5 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError  # the loop ends at the largest unit
