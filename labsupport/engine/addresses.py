"""Where an engine may listen: at the address that somebody chose, else at a usual socket.

Asks no engine and loads no SDK, so that `./lab doctor` and `Engine.connect` look at the same
places.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import EngineDown

LONGEST_SOCKET_PATH = 107  # bytes; unix(7)


@dataclass(frozen=True)
class Chosen:
    """The address that was asked for, by whom, and the name of Docker's context if it is that.

    `plain` tells that HTTP can be spoken there without keys or another program.
    """

    address: str
    asked_by: str
    context: str = ""
    plain: bool = True


def chosen(environment: Mapping[str, str]) -> Chosen | None:
    """Find the address in `DOCKER_HOST`, `DOCKER_CONTEXT`, Docker's settings or `CONTAINER_HOST`.

    Raises `EngineDown` for a context that does not exist or cannot be read.
    """
    if address := environment.get("DOCKER_HOST"):
        keys = environment.get("DOCKER_TLS_VERIFY") or environment.get("DOCKER_CERT_PATH")
        return Chosen(address, "DOCKER_HOST", plain=_is_plain(address) and not keys)
    folder = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = environment.get("DOCKER_CONTEXT") or _current_context(folder)
    if name != "default":
        return _context(folder / "contexts", name)
    if address := environment.get("CONTAINER_HOST"):
        return Chosen(address, "CONTAINER_HOST", plain=_is_plain(address))
    return None


def usual_sockets(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """List the sockets of Docker and Podman, and of those that bring one of them in a VM."""
    home = Path.home()
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    return [
        Path("/var/run/docker.sock"),
        runtime / "docker.sock",  # rootless Docker
        home / ".docker/run/docker.sock",  # Docker Desktop
        home / ".docker/desktop/docker.sock",
        runtime / "podman/podman.sock",
        Path("/run/podman/podman.sock"),
        home / ".rd/docker.sock",  # Rancher Desktop
        home / ".colima/default/docker.sock",
        home / ".orbstack/run/docker.sock",
    ]


def _is_plain(address: str) -> bool:
    return address.startswith(("unix://", "tcp://", "http://"))


def _current_context(folder: Path) -> str:
    """Read the name in `config.json`; without one, or with one that Docker cannot read, default."""
    try:
        settings = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return "default"
    return settings.get("currentContext") or "default" if isinstance(settings, dict) else "default"


def _context(folder: Path, name: str) -> Chosen:
    import hashlib

    number = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "meta" / number / "meta.json"
    try:
        address = json.loads(file.read_bytes())["Endpoints"]["docker"]["Host"]
    except FileNotFoundError as error:
        raise EngineDown(
            "Docker's current context does not exist",
            f"it is to be {name!r}, and there is no {file}",
            "docker context ls; docker context use default",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineDown(
            "Docker's context cannot be read", f"{file}: {error!r}", "docker context ls"
        ) from error
    has_keys = (folder / "tls" / number / "docker").is_dir()
    asked_by = f"Docker's context {name!r}"
    return Chosen(address, asked_by, name, plain=_is_plain(address) and not has_keys)
