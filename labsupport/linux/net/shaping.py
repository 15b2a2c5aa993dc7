"""A token bucket for what leaves through a link, as tc-tbf(8) makes it.

Tokens (bytes) drip into the bucket at the rate; a packet leaves when there are enough for it, and
waits until then. The bucket's size is what may leave at once after a pause, the burst.
"""

from __future__ import annotations

from typing import Any

from pyroute2.netlink.rtnl.tcmsg import sched_tbf

from labsupport.linux.net.netlink import NLM_F_CREATE, NLM_F_REPLACE

TC_H_ROOT = 0xFFFFFFFF
HANDLE = 0x10000
LEAST_BURST_BYTES = 16_384
BURST_SECONDS = 0.1  # a kernel that is itself a process, as the Lab VM, may pause as long
QUEUE_SECONDS = 0.3  # how long a packet may wait before it is thrown away


def burst_bytes(bytes_per_second: float) -> int:
    """How large the bucket is."""
    return max(LEAST_BURST_BYTES, round(bytes_per_second * BURST_SECONDS))


def token_bucket(index: int, bytes_per_second: float) -> dict[str, Any]:
    """Return what a request for a token bucket at link `index` says."""
    rate, burst = round(bytes_per_second), burst_bytes(bytes_per_second)
    limit = round(rate * QUEUE_SECONDS) + burst
    options = sched_tbf.get_parameters({"rate": rate, "burst": burst, "limit": limit})
    return {
        "how": NLM_F_CREATE | NLM_F_REPLACE,
        "attrs": {"TCA_KIND": "tbf", "TCA_OPTIONS": options},
        "index": index, "handle": HANDLE, "parent": TC_H_ROOT,
    }  # fmt: skip


def command(name: str, bytes_per_second: float) -> str:
    """Write the line of tc(8) that does the same."""
    rate, burst = round(bytes_per_second * 8), burst_bytes(bytes_per_second)
    return (
        f"tc qdisc replace dev {name} root tbf rate {rate}bit burst {burst} "
        f"latency {round(QUEUE_SECONDS * 1000)}ms"
    )
