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
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

import platformdirs

from labsupport.errors import LabError
from labsupport.vm import gate, mux, places
from labsupport.vm.guest import DEFAULT_MEMORY, LabVM, Program
from labsupport.vm.inside import kernel
from labsupport.vm.mux import Channel, Connection

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


# Jupyter's five endpoints on the host, joined to the kernel's five sockets in the guest. Only bytes
# are passed on: ZeroMQ's own protocol, its encryption and Jupyter's signatures are between the two
# ends. In the guest the kernel has Unix sockets, which take fewer system calls than TCP.

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
IN_GUEST = "/run/lab/kernel"
CONNECTION_FILE = "/run/lab/kernel.json"


class Relay:
    """Listens where the connection file says, from the start, so that clients need not try again.

    Raises `LabError` where others could listen in or run code: on a network interface, or
    without a key.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self.connection = connection
        _require_private(connection)
        self._listeners = [
            (self._listen(connection[name]), f"{IN_GUEST}-{number}")
            for number, name in enumerate(PORTS, 1)
        ]

    def file_in_guest(self) -> str:
        """Return the connection file for the kernel in the guest."""
        ports = {name: number for number, name in enumerate(PORTS, 1)}
        return json.dumps({**self.connection, "transport": "ipc", "ip": IN_GUEST, **ports})

    def serve(self, guest: LabVM) -> None:
        """Join every connection, those that wait already and those to come, to the guest."""
        for listener, path in self._listeners:
            guest.mux.watch(listener.fileno(), partial(_join, guest, listener, path))

    def close(self) -> None:
        for listener, _path in self._listeners:
            if listener.family == socket.AF_UNIX:
                Path(listener.getsockname()).unlink(missing_ok=True)
            listener.close()

    def _listen(self, port: int) -> socket.socket:
        host = self.connection["ip"]
        if self.connection["transport"] == "ipc":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{host}-{port}")
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family)
        listener.listen()
        listener.setblocking(False)
        return listener


class Knock(Channel):
    """Calls `answered` once somebody listens on a socket in the guest."""

    def __init__(self, guest: LabVM, path: str, answered: Callable[[], None]) -> None:
        super().__init__(guest.mux, guest.number())
        self._answered = answered
        self.send(mux.CONNECT, path.encode())

    def frame(self, kind: int, payload: bytes) -> None:
        if kind == mux.OPENED:
            self.send(mux.END)
            self.close()
            self._answered()


def _require_private(connection: Mapping[str, Any]) -> None:
    if connection["transport"] == "ipc":
        return
    host = connection["ip"]
    if not (host == "localhost" or ip_address(host).is_loopback):
        why = f"the connection file asks for {host}"
        remedy = "leave Jupyter's KernelManager.ip at 127.0.0.1"
        raise LabError("the Lab VM's kernel listens on this machine only", why, remedy)
    if not connection.get("key"):
        why = "the connection file has no key, so any user of this machine could run code in it"
        remedy = "leave Jupyter's Session.key as it is"
        raise LabError("the Lab VM's kernel accepts signed messages only", why, remedy)


def _join(guest: LabVM, listener: socket.socket, path: str, _events: int) -> None:
    try:
        client, _address = listener.accept()
    except BlockingIOError:  # it was gone before we came
        return
    if client.family != socket.AF_UNIX and not _is_ours(client):
        client.close()
        return
    client.setblocking(False)
    if client.family != socket.AF_UNIX:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = Connection(guest.mux, guest.number())
    connection.send(mux.CONNECT, path.encode())
    fd = client.detach()
    connection.read_from(fd)
    connection.write_to(fd)


def _is_ours(client: socket.socket) -> bool:
    """Whether this user, or root, has connected: others could take all descriptors that we have."""
    # the kernel tells whose the other end of a connection is; proc_net(5)
    table = "/proc/net/tcp6" if client.family == socket.AF_INET6 else "/proc/net/tcp"
    with open(table) as file:  # inode: its own end, the other one; with their addresses
        rows = {fields[9]: fields for fields in map(str.split, file)}
    ends = rows.get(str(os.fstat(client.fileno()).st_ino), [])[2:0:-1]
    owners = [row[7] for inode, row in rows.items() if row[1:3] == ends and inode != "0"]
    return not {"0", str(os.geteuid())}.isdisjoint(owners)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(str(error))
