"""How the holders of a zygote know whether anybody waits for the next request."""

from __future__ import annotations

import fcntl
import os
import struct

FLOCK = struct.Struct("hhqqi")  # struct flock


class Seats:
    """Where holders wait for requests: a byte each of a file in memory, locked by who sits there.

    The kernel frees the seats of the dead; fcntl_locking(2).
    """

    COUNT = 2

    def __init__(self) -> None:
        self.file = os.memfd_create("seats")

    def take(self) -> bool:
        """Sit down, if a seat is free."""
        for seat in range(self.COUNT):
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, seat)
            except BlockingIOError:
                continue
            return True
        return False

    def leave(self) -> None:
        """Free the seat."""
        fcntl.lockf(self.file, fcntl.LOCK_UN)

    def all_free(self) -> bool:
        """Tell whether nobody (else) waits."""
        ask = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = FLOCK.unpack(fcntl.fcntl(self.file, fcntl.F_GETLK, ask))
        return bool(found[0] == fcntl.F_UNLCK)
