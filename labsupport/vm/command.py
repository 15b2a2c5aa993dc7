"""`./lab vm`: a root shell in a Lab VM, or one program with its input, output and exit status."""

import argparse
import os
import signal
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from labsupport.vm import mux
from labsupport.vm.guest import DEFAULT_MEMORY, LabVM, Program
from labsupport.vm.mux import Mux

SHELLS = ("/bin/bash", "/bin/sh")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH)


def main(argv: Sequence[str]) -> int:
    """Run the command; return the program's exit status, 128 + n if signal n ended it."""
    options = _parse(argv)
    command = options.program or [next(shell for shell in SHELLS if Path(shell).exists())]
    share = [Path.cwd(), *options.share] if Path.cwd() != Path("/") else options.share
    terminal = os.isatty(0) and os.isatty(1)
    size = _size() if terminal else None
    with LabVM.boot(options.memory, share=share) as guest:
        program = Attached(guest.mux, guest.number(), command, terminal=size)
        guest.mux.hear(SIGNALS, program.told)
        with _raw_terminal() if terminal else nullcontext():
            while not program.over:
                guest.turn()
        status = program.status or 0
        return status if status >= 0 else 128 - status


class Attached(Program):
    """A program whose streams are ours."""

    def __init__(
        self, loop: Mux, number: int, argv: Sequence[str], *, terminal: tuple[int, int] | None
    ) -> None:
        cwd = Path.cwd()
        env = {"TERM": os.environ.get("TERM", "dumb")}
        super().__init__(loop, number, argv, env=env, cwd=cwd, terminal=terminal)
        self.has_terminal = terminal is not None
        self.read_from(os.dup(0))

    def received(self, kind: int, payload: bytes) -> None:
        """Write it out; a reader that has gone ends the program, as with a pipe."""
        left = memoryview(payload)
        try:
            while left:
                left = left[os.write(2 if kind == mux.ERRORS else 1, left) :]
        except BrokenPipeError:
            self.signal(signal.SIGPIPE)
        self.passed_on(len(payload))

    def told(self, number: int) -> None:
        """Pass a signal of ours on."""
        if number == signal.SIGWINCH:
            if self.has_terminal:
                self.send(mux.RESIZE, mux.PAIR.pack(*_size()))
        else:
            self.signal(number)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Leave every key to the guest's terminal, Ctrl-C among them."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(1)
    return rows, columns


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lab vm",
        description="A root shell in a Lab VM of its own, or one program: ./lab vm -- uname -r. "
        "It shares the current folder; everything written elsewhere is discarded.",
        epilog="./lab vm build-kernel builds a kernel for it; ./lab vm kernel-wheel packs that for "
        "machines without a compiler.",
    )
    parser.add_argument("--memory", default=DEFAULT_MEMORY, help=f"of the guest ({DEFAULT_MEMORY})")
    parser.add_argument("--share", action="append", type=Path, default=[], help="one more folder")
    parser.add_argument("program", nargs="*", help="a program and its arguments, after --")
    return parser.parse_args(argv)
