"""A web server in a container with a published port, and how the engine made that happen."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport import trace
from labsupport.engine.labels import owner_labels
from labsupport.errors import NoAnswer

if TYPE_CHECKING:
    from docker.models.containers import Container

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

        Raises:
            NoAnswer: none came within `timeout` seconds.

        """
        until = time.monotonic() + timeout
        while not (page := self._answer()):
            if time.monotonic() > until:
                raise NoAnswer(f"no answer from 127.0.0.1:{self.host_port}", "nobody is there yet")
            time.sleep(0.05)
        return page

    def how(self) -> trace.Steps:
        """Show what leads from the port to the container: proxies, and packet filter rules."""
        found = [
            trace.Step("A program that listens and copies", shlex.join(argv))
            for argv in self._proxies()
        ]
        found += [trace.Step("A rule of the packet filter", f"iptables {rule}")
                  for rule in self._rules()]  # fmt: skip
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

    def _proxies(self) -> list[list[str]]:
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                argv = file.read_bytes().decode().rstrip("\0").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "proxy" in argv[0] and str(self.host_port) in argv:
                found.append(argv)
        return found

    def _rules(self) -> list[str]:
        """Read the rules that name our port; only root may, others see none."""
        found: list[str] = []
        for saver in SAVERS:
            if program := shutil.which(saver[0], path="/usr/sbin:/sbin"):
                argv = [program, *saver[1:]]
                said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
                found += [line for line in said.splitlines() if f"dport {self.host_port} " in line]
        return list(dict.fromkeys(found))


def publish_web_server(engine: Engine, page: str) -> Published:
    """Run a web server in a container, its port 80 published on the loopback, as `-p` does."""
    script = 'mkdir /www; echo "$0" > /www/index.html; exec httpd -f -p 80 -h /www'
    container = engine.client.containers.run(
        engine.base_image(), ["sh", "-c", script, page],
        detach=True, labels=owner_labels(), ports={PORT: ("127.0.0.1", 0)},
    )  # fmt: skip
    container.reload()
    settings = container.attrs["NetworkSettings"]
    address = next(iter(settings["Networks"].values()))["IPAddress"]
    return Published(container, address, int(settings["Ports"][PORT][0]["HostPort"]))
