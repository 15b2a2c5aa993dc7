"""How long it takes to try everything that this machine can do: at most 0.5 s.

Measured from a process as small as this one, and from one of 300 MB, as a notebook's may be.
"""

import statistics
import time

from labsupport import probe

RUNS = 11


def seconds() -> float:
    """Probe once."""
    begin = time.perf_counter()
    probe(fresh=True)
    return time.perf_counter() - begin


def main() -> None:
    seconds()  # the first run reads the files from disk
    ballast = b""
    for size_mb in (0, 300):
        ballast = bytes(range(256)) * (size_mb * 4096)
        runs = sorted(seconds() for _ in range(RUNS))
        print(
            f"probe of everything, process +{size_mb} MB: median {statistics.median(runs):.3f} s, "
            f"slowest of {RUNS} {runs[-1]:.3f} s (to be at most 0.5 s)"
        )
    del ballast
    begin = time.perf_counter()
    probe()
    print(f"probe again (remembered): {(time.perf_counter() - begin) * 1e6:.0f} µs")


if __name__ == "__main__":
    main()
