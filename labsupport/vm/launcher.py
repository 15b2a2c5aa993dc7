"""The Jupyter kernel of the course: chooses the place, and runs ipykernel there.

`python -m labsupport.vm.launcher [--place auto|host|vm] -f CONNECTION_FILE`. At the host this
process becomes ipykernel. Otherwise it boots a guest, runs ipykernel in it, and relays; it ends
when the kernel ends, when Jupyter has gone, or when the guest has died, and the guest ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import platformdirs

from labsupport.errors import LabError
from labsupport.vm import gate, mux, places
from labsupport.vm.guest import DEFAULT_MEMORY, LabVM, Program
from labsupport.vm.inside import kernel
from labsupport.vm.relay import CONNECTION_FILE, IN_GUEST, Knock, Relay

# After that time, a kernel that does not listen no longer keeps others waiting.
LONGEST_START_SECONDS = 30.0
LAST_WORDS_SECONDS = 0.3


def main(argv: Sequence[str]) -> int:
    """Run a kernel; return its exit status."""
    place, file, more = _arguments(argv)
    choice = places.choose(places.gather(place, os.environ))
    if choice.place == "host":
        become_ipykernel(file, more, choice.notice)
    try:
        return run_in_guest(json.loads(Path(file).read_text()), more)
    except CannotBoot as refusal:
        if choice.strict:
            raise refusal.error from None
        print(refusal.error, file=sys.stderr)
        become_ipykernel(file, more, places.notice_of(places.lacking_here(), refusal.error))


class CannotBoot(Exception):
    """The guest did not start; nothing has been promised to Jupyter yet."""

    def __init__(self, error: LabError) -> None:
        super().__init__(error)
        self.error = error


def become_ipykernel(file: str, more: Sequence[str], words: str = "") -> NoReturn:
    """Replace this process by ipykernel, on this machine itself."""
    sys.stdout.flush()
    sys.stderr.flush()
    cache = Path(platformdirs.user_cache_dir("labsupport"))
    with contextlib.suppress(OSError):  # then IPython warns, and takes a temporary folder
        cache.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "LAB_PLACE": "host",
        # else the user's own settings and start-up files would reach in
        "IPYTHONDIR": os.environ.get("IPYTHONDIR") or str(cache / "ipython"),
        places.NOTICE: words,
    }
    extension = ["--ext", places.__name__] if words else []
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", file, *more, *extension]
    os.execve(sys.executable, command, environment)  # noqa: S606


def run_in_guest(connection: dict[str, object], more: Sequence[str]) -> int:
    """Boot a guest, run the kernel in it until it ends, and return its exit status."""
    parent = open_parent()
    relay = Relay(connection)
    try:
        with gate.enter() as slot:
            if parent is not None and select.select([parent], [], [], 0)[0]:
                return 0  # Jupyter has gone while we waited
            with _boot(slot) as guest:
                return Session(guest, relay, slot, parent, more).run()
    finally:
        relay.close()


def open_parent() -> int | None:
    """Return a descriptor that is readable once Jupyter has gone; None if it will not say.

    A guest cannot see its Jupyter, and a launcher would never hear of its end: the server's
    connections are closed, and those of another client are not. Jupyter names itself in the
    environment, unless its kernel is meant to outlive it.
    """
    parent = int(os.environ.get("JPY_PARENT_PID") or 0)
    if parent <= 1:
        return None
    try:
        return os.pidfd_open(parent)
    except ProcessLookupError:
        sys.exit(0)


def _boot(slot: gate.Slot) -> LabVM:
    memory = os.environ.get("LAB_MEMORY") or DEFAULT_MEMORY
    here = Path.cwd().resolve()  # the notebook's folder, where Jupyter starts its kernel
    try:
        return LabVM.boot(memory, share=[] if here == Path("/") else [here], slot=slot)
    except LabError as error:
        raise CannotBoot(error) from error


class Session:
    """A kernel in a guest, from its start to its end.

    `more` are options that a client gives, such as nbclient's `--HistoryManager.hist_file`.
    """

    def __init__(
        self, guest: LabVM, relay: Relay, slot: gate.Slot, parent: int | None, more: Sequence[str]
    ) -> None:
        self.guest = guest
        self._over = False
        self._release = slot.close
        guest.mux.hear((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._signalled)
        if parent is not None:
            guest.mux.watch(parent, lambda _events: self._end())
        self._kernel = Kernel(
            guest.mux, guest.number(),
            [sys.executable, "-m", kernel.__name__, "-f", CONNECTION_FILE, *more],
            env=kernel.ENVIRONMENT, cwd=Path.cwd(), files={CONNECTION_FILE: relay.file_in_guest()},
        )  # fmt: skip
        Knock(guest, f"{IN_GUEST}-1", slot.close)
        relay.serve(guest)

    def run(self) -> int:
        """Relay until it is over; 0 if that was asked for."""
        began = time.monotonic()
        while not self._kernel.over and not self._over:
            left = began + LONGEST_START_SECONDS - time.monotonic()
            self.guest.turn(left if left > 0 else None)
            if left <= 0:
                self._release()
        until = time.monotonic() + (LAST_WORDS_SECONDS if self._kernel.over else 0.0)
        # its connections end when they have passed on the last reply, which is still under way
        while self.guest.mux.channels and (left := until - time.monotonic()) > 0:
            self.guest.turn(left)
        status = self._kernel.status or 0
        if status < 0:
            name = signal.Signals(-status).name
            print(f"The kernel was ended by {name}.\n{self.guest.console}", file=sys.stderr)
            return 128 - status
        return status

    def _end(self) -> None:
        self._over = True

    def _signalled(self, number: int) -> None:
        """Deal with a signal: an interrupt is for the kernel, the others are for us."""
        if number == signal.SIGINT:
            self._kernel.signal(number)
        else:
            self._end()


class Kernel(Program):
    """ipykernel in the guest; what it writes besides its messages goes to the server's log."""

    def received(self, kind: int, payload: bytes) -> None:
        os.write(2 if kind == mux.ERRORS else 1, payload)
        self.passed_on(len(payload))


def _arguments(argv: Sequence[str]) -> tuple[str, str, list[str]]:
    """Take the arguments apart by hand: argparse takes as long to import as all the rest.

    Return the place, the connection file, and what is meant for ipykernel.
    """
    ours = {"--place": "auto", "-f": ""}
    more = []
    words = iter(argv)
    for word in words:
        if word in ours:
            ours[word] = next(words)
        else:
            more.append(word)
    return ours["--place"], ours["-f"], more


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(str(error))
