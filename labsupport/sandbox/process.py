"""A program that runs in a sandbox, seen from the notebook."""

import os
import select
import signal
import time
from collections.abc import Sequence

from labsupport import trace
from labsupport.errors import ProcessGone, TimedOut, mistaken
from labsupport.kernel import procfs
from labsupport.sandbox.messages import STATUS
from labsupport.trace import signal_name


class Process:
    """A program in a sandbox.

    `pid` is its number on this side, `pids` all of its numbers, outermost namespace first.
    `output` and `errors` are what it printed so far, as text.
    """

    def __init__(
        self, argv: Sequence[str], pid: int, pidfd: int, status: int, files: list[int],
        lasting: bool,
    ) -> None:  # fmt: skip
        self.argv, self.pid, self.lasting = tuple(argv), pid, lasting
        self._pidfd, self._status, self._files = pidfd, status, files
        self._code: int | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """The process's number in each PID namespace it lives in, outermost first.

        Raises `ProcessGone`: it has ended, and its numbers with it.
        """
        return procfs.status(self.pid).pids

    @property
    def returncode(self) -> int | None:
        """None while it runs; then its exit status, or minus the signal that ended it."""
        if self._code is None and select.select([self._status], [], [], 0)[0]:
            self._read_status()
        return self._code

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self.returncode
        if code is None:
            return "is running"
        if code < 0:
            return f"was ended by {signal_name(-code)}"
        return f"exited with status {code}"

    @property
    def output(self) -> str:
        """What it wrote to its standard output so far."""
        return _contents(self._files[0])

    @property
    def errors(self) -> str:
        """What it wrote to its standard error so far."""
        return _contents(self._files[1])

    def fileno(self) -> int:
        """A descriptor that is readable once the program has ended, for select and asyncio."""
        return self._status

    def signal(self, number: int) -> None:
        """Send a signal from outside; nothing happens if the program has ended."""
        if number not in signal.valid_signals():
            raise mistaken(number, "the number of a signal", ".signal(9), or signal.SIGKILL")
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its return code. Raises `TimedOut`."""
        if self._code is None:
            if not select.select([self._status], [], [], timeout)[0]:
                why = f"it was given {timeout:g} seconds"
                remedy = "give it more time with timeout=, or end it with .signal(signal.SIGKILL)"
                raise TimedOut(f"{trace.command(self.argv)} has not ended", why, remedy)
            self._read_status()
        assert self._code is not None  # noqa: S101 (for the type checker)
        return self._code

    def expect(self, text: str, timeout: float = 100) -> None:
        """Wait until it has printed `text`: a second, and more than ten where all is emulated.

        Raises `TimedOut`: it did not, within `timeout` seconds.
        Raises `ProcessGone`: it ended before.
        """
        until = time.monotonic() + timeout
        while text not in self.output + self.errors:
            ended = select.select([self._status], [], [], 0.005)[0]
            if ended and text not in self.output + self.errors:
                what = f"{trace.command(self.argv)} {self.ending} before it printed {text!r}"
                raise ProcessGone(what, (self.output + self.errors)[-500:].strip())
            if time.monotonic() > until:
                why = f"it was given {timeout:g} seconds"
                raise TimedOut(f"{trace.command(self.argv)} did not print {text!r}", why)

    def _read_status(self) -> None:
        raw = os.read(self._status, STATUS.size)
        # an end without a status: the holder was killed, and its programs with it
        self._code = STATUS.unpack(raw)[0] if raw else -signal.SIGKILL

    def __repr__(self) -> str:
        state = f"PID {self.pid}" if self.returncode is None else self.ending
        line = (
            trace.command([os.path.basename(self.argv[0]), *self.argv[1:]]) if self.argv else "init"
        )
        return f"<Process {line if len(line) <= 40 else line[:39] + '…'}: {state}>"

    def __del__(self) -> None:
        for fd in (self._pidfd, self._status, *self._files):
            os.close(fd)


def _contents(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")
