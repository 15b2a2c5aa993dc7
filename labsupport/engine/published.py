"""A web server in a container with a published port, and how the engine made that happen."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labsupport import trace
from labsupport.engine.listing import owner_labels
from labsupport.errors import NoAnswer, ProcessGone
from labsupport.kernel.procfs import all_pids, command

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.images import Image

    from labsupport.engine.client import Engine

PORT = "80/tcp"
PATIENCE_SECONDS = 10
SAVERS = (("iptables-save", "-t", "nat"), ("iptables-legacy-save", "-t", "nat"))


@dataclass(frozen=True)
class Published:
    """A container whose port 80 is `host_port` of this machine's loopback."""

    container: Container
    container_address: str
    host_port: int

    def ask(self, timeout: float = PATIENCE_SECONDS) -> str:
        """Fetch the page through the published port.

        Raises `NoAnswer`: none came within `timeout` seconds.
        """
        until = time.monotonic() + timeout
        while not (page := self._answer()):
            if time.monotonic() > until:
                raise NoAnswer(f"no answer from 127.0.0.1:{self.host_port}", "nobody is there yet")
            time.sleep(0.05)
        return page

    def how(self) -> trace.Steps:
        """Show what leads from the port to the container: proxies, and packet filter rules."""
        listens, filters = "A program that listens and copies", "A rule of the packet filter"
        found = [trace.Step(listens, proxy) for proxy in self._proxies()]
        found += [trace.Step(filters, f"iptables {rule}") for rule in self._rules()]
        return trace.Steps(f"What makes port {self.host_port} lead to the container", tuple(found))

    def remove(self) -> None:
        """End the container and remove it."""
        self.container.remove(force=True)

    def _answer(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.host_port), 2) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                words = b"".join(iter(lambda: connection.recv(4096), b""))
        except ConnectionError:  # the server, or the proxy, is about to start
            return ""
        return words.decode().partition("\r\n\r\n")[2].strip()

    def _proxies(self) -> Iterator[str]:
        for pid in all_pids():  # not only those whose namespaces we may read
            try:
                program, *arguments = command(pid).split()
            except ProcessGone:
                continue
            if "proxy" in program and str(self.host_port) in arguments:
                yield " ".join([program, *arguments])

    def _rules(self) -> list[str]:
        """Read the rules that name our port; only root may, others see none."""
        found: list[str] = []
        for saver in SAVERS:
            if program := shutil.which(saver[0], path="/usr/sbin:/sbin"):
                argv = [program, *saver[1:]]
                said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
                found += [line for line in said.splitlines() if f"dport {self.host_port} " in line]
        return list(dict.fromkeys(found))


def publish_web_server(engine: Engine, image: Image | str, page: str) -> Published:
    """Run a web server of an image with busybox, its port 80 published on the loopback (`-p`)."""
    script = 'mkdir /www; echo "$0" > /www/index.html; exec httpd -f -p 80 -h /www'
    ports = {PORT: ("127.0.0.1", 0)}
    container = engine.client.containers.run(
        image, ["sh", "-c", script, page], detach=True, labels=owner_labels(), ports=ports
    )
    container.reload()
    settings = container.attrs["NetworkSettings"]
    address = next(iter(settings["Networks"].values()))["IPAddress"]
    return Published(container, address, int(settings["Ports"][PORT][0]["HostPort"]))
