"""One line on a terminal that says how far a long job is; on anything else, a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO


class Progress:
    """`with Progress("compiling", 1700) as p: p.step()`; `total` is an estimate, of `things`."""

    def __init__(
        self, what: str, total: int = 0, stream: TextIO | None = None, *, things: str = "files"
    ) -> None:
        self.what, self.total, self.done, self.things = what, total, 0, things
        self._stream = stream or sys.stdout
        self._redraws = self._stream.isatty()
        self._started = time.monotonic()
        self._drawn_at, self._drawn_percent = 0.0, 0

    def step(self) -> None:
        """Count one more; drawn five times a second on a terminal, every 10 % elsewhere."""
        self.done += 1
        now = time.monotonic()
        if self._redraws and now - self._drawn_at >= 0.2:
            self._drawn_at = now
            self._write(f"\r{self._line()}")
        elif not self._redraws and self._percent() >= self._drawn_percent + 10:
            self._drawn_percent = self._percent() // 10 * 10
            self._write(f"{self._line()}\n")

    def __enter__(self) -> Self:
        self._write(self.what + ("" if self._redraws else "\n"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = time.monotonic() - self._started
        outcome = f"{self.what}: {'stopped' if kind else 'done'} after {seconds:.0f} s"
        self._write(f"\r{outcome:<60}\n" if self._redraws else f"{outcome}\n")

    def _percent(self) -> int:
        return min(99, 100 * self.done // self.total) if self.total else 0

    def _line(self) -> str:
        seconds = time.monotonic() - self._started
        counted = f"{self.done} of about {self.total} {self.things}" if self.total else ""
        return f"{self.what}: {self._percent():2} %, {counted}, {seconds:.0f} s"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
