"""A program on a pseudoterminal of its own, as a terminal window would start it; pty(7).

It ends with us: when the master side is closed, however that comes about, the kernel hangs up, and
the session's programs get SIGHUP.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence


class PseudoTerminal:
    """A running program and the master side of its terminal.

    `fileno()` is readable when there is output, and when the program has ended.

    Raises:
        FileNotFoundError: there is no such program.

    """

    def __init__(
        self, argv: Sequence[str], rows: int, columns: int, env: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        try:
            self.resize(rows, columns)
            # setsid(1) makes the terminal the controlling one of a new session; whoever started
            # Jupyter by nohup(1) has let it, and all below it, ignore a hangup
            self.process = subprocess.Popen(
                ["env", "--default-signal=HUP,INT,QUIT", "setsid", "--ctty", "--wait", *argv],
                stdin=slave, stdout=slave, stderr=slave,
                env={**os.environ, "TERM": "xterm-256color", **(env or {})},
            )  # fmt: skip
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        os.set_blocking(self._master, False)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._master

    def read(self) -> bytes:
        """Return what there is to read; empty once the program has ended."""
        try:
            return os.read(self._master, 1 << 16)
        except BlockingIOError:
            raise
        except OSError:  # EIO: nobody has the slave side open any more
            return b""

    def write(self, data: bytes) -> None:
        """Type."""
        os.write(self._master, data)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program how large its terminal is; TIOCSWINSZ in ioctl_tty(2)."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Hang up, and wait for the program's end; a program that ignores it is killed."""
        os.close(self._master)
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
