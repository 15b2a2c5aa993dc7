"""A Docker or Podman engine that answers, and a private registry.

An engine is asked by hand: one HTTP request over its socket, as `curl --unix-socket` would do.
"""

from __future__ import annotations

import json
import os
import socket
from errno import EACCES, ECONNREFUSED, ENOENT
from urllib.parse import urlsplit

from labsupport.engine import addresses, registry_program
from labsupport.errors import EngineDown
from labsupport.probes import facts
from labsupport.probes.children import Refused

_SECONDS = 1.5


def candidates(environ: dict[str, str]) -> list[str]:
    """Return the addresses at which an engine may listen, the likeliest first."""
    if found := _chosen(environ):
        return [found.address]
    return [f"unix://{path}" for path in addresses.usual_sockets(environ)]


def _chosen(environ: dict[str, str]) -> addresses.Chosen | None:
    try:
        return addresses.chosen(environ)
    except EngineDown as error:
        raise Refused(f"{error.what}: {error.why}", error.remedy) from error


def _connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(_SECONDS)
        link.connect(parts.path)
        return link
    return socket.create_connection((parts.hostname or "", parts.port or 2375), timeout=_SECONDS)


def get(address: str, path: str) -> tuple[int, bytes]:
    """Ask an engine; return the status of its answer (0 if it is no HTTP) and the body."""
    with _connect(address) as link:
        link.sendall(f"GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return (int(words[1]) if is_http else 0), body


def find() -> tuple[str | None, dict[str, OSError]]:
    """Return the address of the first engine that answers, and how the others failed."""
    failures: dict[str, OSError] = {}
    for address in candidates(dict(os.environ)):
        try:
            status, _ = get(address, "/_ping")
        except OSError as error:
            failures[address] = error
            continue
        if status == 200:
            return address, failures
        failures[address] = OSError(0, f"/_ping answered {status or 'something that is no HTTP'}")
    return None, failures


def engine() -> str:
    """Some socket answers /_ping; in the Lab VM, dockerd is there to be started."""
    if (found := _chosen(dict(os.environ))) and not found.plain:
        return f"{found.address} (not asked: it takes keys or ssh)"
    address, failures = find()
    if address:
        return address
    known = facts.gather()
    has_docker = facts.find_program("dockerd") is not None
    if known.in_vm and has_docker:
        return "dockerd, started on first use"
    raise why_no_engine(failures, known, has_docker=has_docker)


def why_no_engine(failures: dict[str, OSError], known: facts.Facts, *, has_docker: bool) -> Refused:
    """Explain from the sockets' failures, the most telling first, why no engine answers."""
    by_errno = {error.errno: address for address, error in reversed(failures.items())}
    if address := by_errno.get(EACCES):
        return Refused(
            f"this user may not use the engine's socket {address}",
            facts.join_group(urlsplit(address).path),
        )
    if address := by_errno.get(ECONNREFUSED):
        return Refused(f"nothing listens at {address}: the daemon is down", known.start("docker"))
    for address, error in failures.items():
        if error.errno != ENOENT:
            return Refused(
                f"the engine at {address} does not answer: {error.strerror or error}",
                f"look at it: docker --host {address} info",
            )
    if has_docker:
        return Refused("the Docker daemon is not running", known.start("docker"))
    looked = ", ".join(address.removeprefix("unix://") for address in failures)
    return Refused(
        f"no engine was found (looked at {looked})", known.install("docker.io", "docker or podman")
    )


def registry() -> str:
    """A registry's program, or the engine's image of that name."""
    if program := registry_program.find():
        return f"the program {program.name}"  # not its path: this is read in saved notebooks
    address, _ = find()
    if address:
        status, body = get(
            address, "/images/json?filters=%7B%22reference%22%3A%5B%22registry%22%5D%7D"
        )
        if status == 200 and json.loads(body):
            return "the engine's image registry"
    raise Refused(
        "neither the program docker-registry nor an engine with the image registry is here",
        "./lab registry (it fetches the program, and installs nothing)",
    )


def command_line() -> str:
    """The program docker; which engine it speaks to is its environment's affair."""
    if program := facts.find_program("docker"):
        return program
    raise Refused(
        "the command docker is not installed (notebooks speak to the engine by its API)",
        facts.gather().install("docker.io", "docker"),
    )


PROBES = {"engine": engine, "engine.cli": command_line, "registry": registry}
