"""ipykernel in the guest, started twice as fast: its memory is there before it is touched.

In User-Mode Linux a page fault costs 65 µs, and importing ipykernel takes eight thousand. So the
heap is made large at once, filled with pages by madvise(2), and its protection changed and changed
back: that makes the guest's kernel map all these pages in one go, in 10 ms. Python's objects must
come from the C library's heap for that: `PYTHONMALLOC=malloc` has to be in the environment.
"""

import os
import sys
import threading
from typing import Any

from labsupport.kernel import syscalls

HEAP_BYTES = 48 << 20  # ipykernel takes 35 MB; what a notebook imports finds the rest
PAGE_SIZE = 4096
LONGEST_FAREWELL_SECONDS = 1.0
ENVIRONMENT = {"PYTHONMALLOC": "malloc"}


def main() -> None:
    """Run ipykernel with the arguments of this process."""
    make_heap(HEAP_BYTES)
    for name in ENVIRONMENT:
        os.environ.pop(name, None)  # programs that cells start are as they are everywhere
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.config.HistoryManager.hist_file = ":memory:"  # a file would take 50 calls for each cell
    # we do without the debugger: it would take 0.3 s and 10 MB of every start
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    app.initialize()
    del sys.modules["debugpy"]
    end_when_asked(app.kernel)
    app.start()


def end_when_asked(kernel: Any) -> None:
    """End at a request to shut down, whatever threads and exit handlers still wait for.

    Once in some fifty times under load, ipykernel answered the request and did not end; Jupyter
    would wait five seconds for it, and the guest goes in any case.
    """
    shut_down = kernel.do_shutdown

    def do_shutdown(restart: bool) -> Any:
        last = threading.Timer(LONGEST_FAREWELL_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()
        return shut_down(restart)

    kernel.do_shutdown = do_shutdown


def make_heap(size: int) -> None:
    """Enlarge the heap by `size` bytes which can be used without a page fault."""
    syscalls.mallopt(syscalls.M_TRIM_THRESHOLD, 2 * size)  # free memory at its end stays there
    syscalls.mallopt(syscalls.M_MMAP_MAX, 0)  # from the heap, however much it is
    block = syscalls.malloc(size)
    syscalls.mallopt(syscalls.M_MMAP_MAX, 65536)
    start = -(-block // PAGE_SIZE) * PAGE_SIZE
    length = (block + size) // PAGE_SIZE * PAGE_SIZE - start
    syscalls.madvise(start, length, syscalls.MADV_POPULATE_WRITE)
    syscalls.mprotect(start, length, syscalls.PROT_READ)
    syscalls.mprotect(start, length, syscalls.PROT_READ | syscalls.PROT_WRITE)
    syscalls.free(block)


if __name__ == "__main__":
    main()
