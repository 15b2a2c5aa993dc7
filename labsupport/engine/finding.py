"""Connect to the engine, and say why none answered: the causes need different remedies."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION, DEFAULT_TIMEOUT_SECONDS
from docker.context import ContextAPI
from docker.errors import DockerException, InvalidVersion, TLSParameterError
from docker.utils import version_lt

from labsupport.engine import addresses
from labsupport.engine.addresses import LONGEST_SOCKET_PATH, usual_sockets
from labsupport.errors import (
    EngineDown,
    EngineMissing,
    EngineRefused,
    EngineTooNew,
    EngineTooOld,
    LabError,
)

OLDEST_API = "1.41"
"""The first that knows cgroup v2 and says which version it uses: Docker 20.10, Podman 4."""
NEWEST_API = DEFAULT_DOCKER_API_VERSION
"""The newest that the SDK was written for. Later ones leave out what it and we read."""
ANSWER_SECONDS = 10
_VM = 'or take the kernel "Lab VM", which has an engine of its own'
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)


def find() -> tuple[docker.DockerClient, str]:
    """Connect to the engine that was asked for, or to the first that answers; also its address."""
    if found := addresses.chosen(os.environ):
        return connect(found), found.address
    refusals = {path: _refusal(path) for path in usual_sockets()}
    ill: list[LabError] = []
    for path in [path for path, number in refusals.items() if not number]:
        found = addresses.Chosen(f"unix://{path}", "the usual places")
        try:
            return connect(found), found.address
        except LabError as error:
            ill.append(error)
    raise ill[0] if ill else _none_answered(refusals)


def connect(to: addresses.Chosen) -> docker.DockerClient:
    """Connect, and agree on a version of the API: the newest that both sides know."""
    if to.address.startswith("unix://"):
        _try_socket(Path(to.address.removeprefix("unix://")), to)
    make = _maker(to)
    try:
        with contextlib.closing(make(timeout=ANSWER_SECONDS)) as client:
            said = client.version(api_version=False)
    except InvalidVersion as error:
        raise EngineTooOld(
            f"the engine at {to.address} is too old", str(error), "upgrade it"
        ) from error
    except (DockerException, TLSParameterError) as error:
        raise EngineDown(
            f"no engine answers at {to.address}",
            f"{error}; the address comes from {to.asked_by}",
            _start_it(),
        ) from error
    # a build or a push may be silent for long, so from here on the patience is the SDK's own
    return make(version=agreed_version(said, to.address), timeout=DEFAULT_TIMEOUT_SECONDS)


def agreed_version(said: dict[str, Any], address: str) -> str:
    """Choose the API's version by what the engine said; raises `EngineTooOld`, `EngineTooNew`."""
    newest, oldest = said["ApiVersion"], said.get("MinAPIVersion") or said["ApiVersion"]
    who = f"version {said.get('Version', '?')} speaks API {oldest} to {newest}"
    if version_lt(newest, OLDEST_API):
        raise EngineTooOld(
            f"the engine at {address} is too old",
            f"{who}, and {OLDEST_API} is needed",
            "upgrade it to Docker 20.10 or Podman 4, or a later one",
        )
    if version_lt(NEWEST_API, oldest):
        raise EngineTooNew(
            f"the engine at {address} is too new for this course's Docker SDK",
            f"{who}, and the SDK speaks {NEWEST_API} at most",
            "pip install --upgrade docker",
        )
    return newest if version_lt(newest, NEWEST_API) else NEWEST_API


def _maker(to: addresses.Chosen) -> Callable[..., docker.DockerClient]:
    if to.asked_by == "DOCKER_HOST":
        return partial(docker.from_env, use_ssh_client=True)
    tls = ContextAPI.get_context(to.context).TLSConfig if to.context else None
    return partial(docker.DockerClient, base_url=to.address, tls=tls or False, use_ssh_client=True)


def _try_socket(path: Path, to: addresses.Chosen) -> None:
    number = _refusal(path)
    if number in _NOT_ALLOWED:
        raise _refused(path, to.asked_by)
    if number:
        raise EngineDown(
            f"no engine answers at {to.address}",
            f"{os.strerror(number)}; the address comes from {to.asked_by}",
            _start_it(),
        )


def _refusal(path: Path) -> int:
    """Return why nobody can be reached at a Unix socket (an errno), or 0 if somebody can."""
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        return errno.ENAMETOOLONG
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path))


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
