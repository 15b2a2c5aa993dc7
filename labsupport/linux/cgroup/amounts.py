"""The amounts that limits are given in: bytes, shares of one CPU, weights; and v1's own units."""

from __future__ import annotations

import math
import re
from typing import TypeGuard

from labsupport.errors import BadAmount

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
CPU_PERIOD_US = 100_000  # the kernel's own default, and Docker's
LEAST_CPU = 0.01  # a millisecond in each period: the kernel accepts no less
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_FORMS = 'write a number of bytes (64e6, 67108864) or "64M", "1.5G" (K, M, G, T: powers of 1024)'

Amount = int | float | str


def bytes_of(amount: Amount, what: str) -> int:
    """Return an amount of memory in bytes: `"64M"` is 67108864, and so is 67108864.

    Raises:
        BadAmount: it is neither; the message tells the accepted forms.

    """
    if isinstance(amount, str) and (found := _BYTES.fullmatch(amount.strip())):
        return int(float(found[1]) * UNITS[found[2].upper()])
    if _is_number(amount) and amount >= 0 and amount == int(amount):
        return int(amount)
    raise BadAmount(f"{what}={amount!r} is no number of bytes", "", _FORMS)


def cpus_of(amount: object, what: str = "cpu") -> float:
    """Return a share of one CPU: 0.2 is a fifth of one, 1.5 is one and a half."""
    if _is_number(amount) and amount >= LEAST_CPU:
        return float(amount)
    raise BadAmount(
        f"{what}={amount!r} is no share of CPUs",
        f"the kernel takes at least {LEAST_CPU} (1 ms in every 100 ms)",
        "write 0.2 for a fifth of one CPU, 2 for two CPUs",
    )


def count_of(amount: object, what: str = "pids", least: int = 0, most: int = 1 << 22) -> int:
    """Return a whole number between `least` and `most`."""
    if _is_number(amount) and amount == int(amount) and least <= amount <= most:
        return int(amount)
    raise BadAmount(f"{what}={amount!r}", f"a whole number from {least} to {most} is wanted")


def _is_number(amount: object) -> TypeGuard[int | float]:
    return (
        isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount)
    )


def shares_of(weight: int) -> int:
    """Return v1's `cpu.shares` for a weight: 100 and 1024 are the defaults, as the kernel has it.

    Kernel and systemd reckon alike: shares = weight * 1024 / 100 (`cpu_weight_write_u64`).
    """
    return max(2, round(weight * 1024 / 100))


def weight_of(shares: int) -> int:
    """Return the weight for v1's `cpu.shares`."""
    return max(1, round(shares * 100 / 1024))
