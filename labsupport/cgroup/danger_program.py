"""The program behind a danger: it enters its group, checks its limit, and only then starts.

Run by path as `python -I -S danger_program.py ORDER` (JSON), so that it starts fast; it imports
none of our modules. It asks about itself, from inside: /proc/self/cgroup says which group it is in,
and that group's file which limit holds, so the answer cannot be out of date.
"""

import contextlib
import json
import mmap
import os
import resource
import signal
import sys
import time

REFUSED = 3  # its exit status without a limit
V1_UNLIMITED = 1 << 62
FAREWELL_SECONDS = 5.0
PAUSE_SECONDS = 0.01  # of a bomb, after a fork that was refused
CHUNK, SPAN = 1 << 16, 1 << 22  # bytes that a writer writes at once, and over and over
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def main() -> None:
    """Enter, ask, start; end after `seconds` whatever happens."""
    order = json.loads(sys.argv[1])
    # a signal without a handler does not end process 1 of a PID namespace
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    set_alarm(order["seconds"])
    whole = int(order["seconds"]) + 2  # of CPU time, if the clock should fail
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    for path in order["procs"]:
        write(path, "0")
    for check in order["checks"]:
        demand(**check)
    write("/proc/self/oom_score_adj", "1000")  # if memory runs short, we go first
    print("started", flush=True)
    DANGERS[order["kind"]](**order["options"])


def set_alarm(seconds: float) -> None:
    """End after `seconds`; a forked process does not inherit that. See setitimer(2)."""
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))


def demand(controller: str, group: str, file: str, disk: str = "", most: int = 0) -> None:
    """Go on only if we are in that group, and if its file holds a limit of at most `most`."""
    with open("/proc/self/cgroup") as lines:
        here = [line.rstrip("\n").split(":", 2)[1:] for line in lines]
    if not any(controller in names.split(",") and path == group for names, path in here):
        refuse(f"the process is not in {group}, but in {here}")
    with open(file) as found:
        text = found.read()
    limit = limit_in(text, disk)
    if limit is None:
        refuse(f"{file} says {text.strip() or 'nothing'!r}, which is not a limit")
    if most and limit > most:
        refuse(f"{file} allows {limit}, and more than {most} would harm this machine")


def limit_in(text: str, disk: str) -> "int | None":
    """Read the limit from what the kernel says; None: there is none."""
    if disk:
        lines = [line for line in text.splitlines() if line.startswith(f"{disk} ")]
        # v1: 7:0 1048576; v2: 7:0 rbps=max wbps=1048576 riops=max wiops=max
        text = lines[0].rpartition("wbps=" if "wbps=" in text else " ")[2] if lines else "max"
    word = text.strip().partition(" ")[0]
    return None if word in ("max", "-1") or int(word) >= V1_UNLIMITED else int(word)


def refuse(why: str) -> "NoReturn":
    """Say why, and end without having done anything."""
    print(why, file=sys.stderr, flush=True)
    os._exit(REFUSED)


def hog(step: int, most: int, pause: float) -> None:
    """Take more and more memory, and write to all of it; keep `most` bytes."""
    blocks: list[bytearray] = []
    while len(blocks) * step < most:
        blocks.append(bytearray(b"\1") * step)
        time.sleep(pause)
    while True:  # until the alarm
        signal.pause()


def burner(threads: int) -> None:
    """Compute without end, in `threads` processes (Python's threads would take turns).

    Where there is one for each CPU, each has its own: left to the balancing between CPUs, groups of
    weights 1 : 3 were seen to share 1 : 4.
    """
    cpus, number = sorted(os.sched_getaffinity(0)), 0
    with contextlib.suppress(BlockingIOError):  # EAGAIN: a bomb has taken all places
        while number < threads - 1 and os.fork():
            number += 1
    if threads >= len(cpus):
        os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    while True:
        pass


def bomb() -> None:
    """Fork, and let every child do the same: 1, 2, 4, 8, … until the kernel refuses."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended ones leave at once, and make room
    signal.signal(signal.SIGALRM, lambda *_: leave_last())
    end = time.monotonic() + signal.getitimer(signal.ITIMER_REAL)[0]
    while True:
        try:
            if os.fork() == 0:
                set_alarm(end - time.monotonic())
        except BlockingIOError:  # EAGAIN: pids.max
            time.sleep(PAUSE_SECONDS)


def leave_last() -> None:
    """End when all children have: if process 1 went first, they would be killed while they fork."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    set_alarm(FAREWELL_SECONDS)
    try:
        os.wait()  # with SIGCHLD ignored it returns once no child is left
    except ChildProcessError:
        os._exit(0)


def writer(path: str) -> None:
    """Write past the page cache, over the same part of a loop device again and again."""
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    block = mmap.mmap(-1, CHUNK)  # its address is a whole page's, as O_DIRECT wants
    block.write(b"\1" * CHUNK)
    while True:
        for offset in range(0, SPAN, CHUNK):
            os.pwrite(fd, block, offset)


def write(path: str, text: str) -> None:
    """Write to a kernel's file."""
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)


DANGERS: "dict[str, Any]" = {"hog": hog, "burner": burner, "bomb": bomb, "writer": writer}

if __name__ == "__main__":
    main()
