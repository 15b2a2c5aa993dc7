"""A sandbox from a big Jupyter process against `unshare` from a small one: the ratio of medians.

    python benchmarks/sandbox_start.py [ROUNDS]

Both run `true` as PID 1 of new PID and mount namespaces with a fresh /proc. The process that asks
is blown up to 300 MB first, as a notebook with a data set is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from labsupport import Sandbox
from labsupport.linux.zygote_client import may_make_namespaces

ROOT = may_make_namespaces()
UNSHARE = ["unshare", *([] if ROOT else ["-r"]), "--fork", "--pid", "--mount-proc", "true"]


def sandbox() -> None:
    with Sandbox(new={"pid", "mount"}) as box:
        box.run(["true"])


def unshare() -> None:
    subprocess.run(UNSHARE, check=True)


def milliseconds(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    ballast = bytearray(os.urandom(1)) * (300 << 20)
    alone = [milliseconds(unshare) for _ in range(rounds)]
    sandbox()  # the first one starts the zygote
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(milliseconds(unshare))
        ours.append(milliseconds(sandbox))
    tight = [milliseconds(sandbox) for _ in range(rounds)]
    base = statistics.median(alone)
    rows = {
        "unshare, one after the other": alone,
        "unshare, in turn with a Sandbox": theirs,
        "Sandbox, in turn with unshare": ours,
        "Sandbox, one after the other": tight,
    }
    print(f"asked by a process of {len(ballast) >> 20} MB, {rounds} rounds, medians")
    for name, times in rows.items():
        median = statistics.median(times)
        print(f"{name:34} {median:6.2f} ms   {median / base:4.2f}")


if __name__ == "__main__":
    main()
