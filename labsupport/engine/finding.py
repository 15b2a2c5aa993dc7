"""Where an engine may listen, and why none answered: the causes need different remedies."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path

import docker
from docker.constants import DEFAULT_TIMEOUT_SECONDS
from docker.context import ContextAPI
from docker.errors import ContextException, DockerException, InvalidVersion, TLSParameterError
from docker.tls import TLSConfig

from labsupport.errors import EngineDown, EngineMissing, EngineRefused, EngineTooOld

ANSWER_SECONDS = 10
_VM = 'or take the kernel "Lab VM", which has an engine of its own'


def find() -> tuple[docker.DockerClient, str]:
    """Connect to the engine that was asked for, or to the first that answers; also its address."""
    if address := os.environ.get("DOCKER_HOST"):
        return _open(address, "DOCKER_HOST", from_environment=True), address
    if named := _named_context():
        name, address, tls = named
        return _open(address, f"Docker's context {name!r}", tls=tls), address
    refusals = {path: _refusal(path) for path in usual_sockets()}
    for path, refusal in refusals.items():
        if refusal is None:
            return _open(f"unix://{path}", str(path)), f"unix://{path}"
    raise _none_answered({path: number for path, number in refusals.items() if number})


def usual_sockets() -> list[Path]:
    """List the sockets of Docker and Podman, of the system and of this user."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    return [
        Path("/var/run/docker.sock"),
        runtime / "docker.sock",
        Path.home() / ".docker/run/docker.sock",
        Path.home() / ".docker/desktop/docker.sock",
        runtime / "podman/podman.sock",
        Path("/run/podman/podman.sock"),
    ]


def _named_context() -> tuple[str, str, bool | TLSConfig] | None:
    try:
        context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
    except ContextException as error:
        raise EngineDown(
            "Docker's context cannot be read", str(error), "docker context ls"
        ) from error
    if context is None:
        raise EngineDown(
            "Docker's current context does not exist",
            f"DOCKER_CONTEXT is {os.environ.get('DOCKER_CONTEXT')!r}",
            "docker context ls; docker context use default",
        )
    if context.Name == "default":
        return None
    return context.Name, context.Host or "", context.TLSConfig or False


def _open(
    address: str, asked_by: str, *, from_environment: bool = False, tls: bool | TLSConfig = False
) -> docker.DockerClient:
    if address.startswith("unix://"):
        path = Path(address.removeprefix("unix://"))
        if number := _refusal(path):
            raise (
                _refused(path, asked_by)
                if number in _NOT_ALLOWED
                else EngineDown(
                    f"no engine answers at {address}",
                    f"{os.strerror(number)}; the address comes from {asked_by}",
                    _start_it(),
                )
            )
    try:
        if from_environment:
            client = docker.from_env(timeout=ANSWER_SECONDS, use_ssh_client=True)
        else:
            client = docker.DockerClient(
                base_url=address, tls=tls, timeout=ANSWER_SECONDS, use_ssh_client=True
            )
    except InvalidVersion as error:
        raise EngineTooOld(
            f"the engine at {address} is too old", str(error), "upgrade it"
        ) from error
    except (DockerException, TLSParameterError) as error:
        raise EngineDown(
            f"no engine answers at {address}",
            f"{error}; the address comes from {asked_by}",
            _start_it(),
        ) from error
    client.api.timeout = DEFAULT_TIMEOUT_SECONDS  # a build or a push may be silent for long
    return client


_NOT_ALLOWED = (errno.EACCES, errno.EPERM)


def _refusal(path: Path) -> int | None:
    """Return why nobody can be reached at a Unix socket (an errno), or None if somebody can."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) or None


def _none_answered(refusals: dict[Path, int]) -> Exception:
    denied = [path for path, number in refusals.items() if number in _NOT_ALLOWED]
    if denied:
        return _refused(denied[0], "the usual places")
    silent = [path for path, number in refusals.items() if number == errno.ECONNREFUSED]
    if silent or _installed():
        return EngineDown(
            "no container engine answers",
            f"{silent[0]} is there, but nobody listens on it"
            if silent
            else f"{_installed()} is installed, but none of its sockets is there",
            f"{_start_it()}; {_VM}",
        )
    return EngineMissing(
        "there is no container engine",
        "neither Docker nor Podman has a socket or a program here",
        f"sudo apt-get install docker.io, {_VM}",
    )


def _refused(path: Path, asked_by: str) -> EngineRefused:
    return EngineRefused(
        "the engine does not let you in",
        f"you may not open {path} ({asked_by}); who may is root in effect",
        f"sudo usermod -aG docker $USER, and log in again; {_VM}",
    )


def _installed() -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin"
    return next((name for name in ("dockerd", "podman") if shutil.which(name, path=path)), "")


def _start_it() -> str:
    if _installed() == "podman":
        return "systemctl --user start podman.socket"
    return "sudo systemctl start docker (without systemd: sudo service docker start)"
