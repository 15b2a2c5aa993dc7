"""A program in the guest, as seen from the host: its channel."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from labsupport.errors import ProgramNotFound
from labsupport.vm import mux
from labsupport.vm.mux import Channel, Mux

_PIECE = 32 << 10


class Program(Channel):
    """A program that has been started in the guest; `status` is there once it has ended.

    `status` is the exit status, or minus the number of the signal that ended it. With a `terminal`
    of so many rows and columns it gets one, and its errors come with its output. `files` are
    written before it starts, for root's eyes only.
    """

    def __init__(
        self,
        loop: Mux,
        number: int,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        terminal: tuple[int, int] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(loop, number)
        self.argv = tuple(map(os.fspath, argv))
        self.status: int | None = None
        self._failure: ProgramNotFound | None = None
        wishes = {
            "argv": self.argv,
            "environment": dict(env or {}),
            "cwd": os.fspath(cwd or "/"),
            "terminal": terminal,
            "files": dict(files or {}),
        }
        self.send(mux.START, json.dumps(wishes).encode())

    @property
    def over(self) -> bool:
        """Whether it has ended. Raises `ProgramNotFound` if it has never begun."""
        if self._failure:
            raise self._failure
        return self.status is not None

    def frame(self, kind: int, payload: bytes) -> None:
        """Deal with a frame from the guest."""
        if kind == mux.EXIT:
            self.status = mux.NUMBER.unpack(payload)[0]
            self.close()
        elif kind == mux.FAILED:
            number, said = json.loads(payload)
            why = os.strerror(number) if number else said
            self._failure = ProgramNotFound(f"{self.argv[0]} does not start in the Lab VM", why)
            self.close()
        else:
            super().frame(kind, payload)

    def signal(self, number: int) -> None:
        """Send a signal to the program and those that it has started."""
        self.send(mux.SIGNAL, bytes([number]))


class Captured(Program):
    """A program whose output is kept."""

    def __init__(
        self,
        loop: Mux,
        number: int,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self._output = {mux.DATA: bytearray(), mux.ERRORS: bytearray()}
        self._input = b""
        self._all_fed = False
        self._room = mux.WINDOW
        super().__init__(loop, number, argv, env=env, cwd=cwd)

    def feed(self, data: bytes) -> None:
        """Let the program read `data`, and then the end of its input."""
        self._input = data
        self._feed_some()

    def text(self, kind: int) -> str:
        """Return what the program has written: its output (`DATA`) or its errors (`ERRORS`)."""
        return self._output[kind].decode(errors="replace")

    def frame(self, kind: int, payload: bytes) -> None:
        """Deal with a frame from the guest."""
        if kind == mux.CREDIT:
            self._room += mux.NUMBER.unpack(payload)[0]
            self._feed_some()
        else:
            super().frame(kind, payload)

    def received(self, kind: int, payload: bytes) -> None:
        """Keep what the program has written."""
        self._output[kind] += payload
        self.passed_on(len(payload))

    def _feed_some(self) -> None:
        while self._room and self._input:
            piece = self._input[: min(_PIECE, self._room)]
            self._input = self._input[len(piece) :]
            self._room -= len(piece)
            self.send(mux.DATA, piece)
        if not self._input and not self._all_fed:
            self._all_fed = True
            self.send(mux.END)
