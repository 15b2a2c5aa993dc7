"""Jupyter's five endpoints on the host, joined to the kernel's five sockets in the guest.

Only bytes are passed on: ZeroMQ's own protocol, its encryption and Jupyter's signatures are between
the two ends. In the guest the kernel has Unix sockets, which take fewer system calls than TCP.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from labsupport.errors import LabError
from labsupport.vm import mux
from labsupport.vm.guest import LabVM
from labsupport.vm.mux import Channel, Connection

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
