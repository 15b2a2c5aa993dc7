"""Find a container engine and connect to it, or start one: in the Lab VM, and for root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION, DEFAULT_TIMEOUT_SECONDS
from docker.context import ContextAPI
from docker.errors import DockerException, InvalidVersion, TLSParameterError
from docker.utils import version_lt
from docker.utils.socket import STDOUT, consume_socket_output, demux_adaptor
from requests.exceptions import ReadTimeout, RequestException

from labsupport import trace
from labsupport.doctor import addresses
from labsupport.doctor.addresses import Chosen, usual_sockets
from labsupport.engine import daemon, listing
from labsupport.engine.command_line import engine_environment
from labsupport.engine.daemon import PATIENCE
from labsupport.errors import EngineDown, LabError
from labsupport.figure.table import html_table
from labsupport.kernel.refusals import gather
from labsupport.ownership.marks import Closing

CONTAINERDS = "io.containerd.snapshotter"
OLDEST_API = "1.41"
"""The first that knows cgroup v2 and says which version it uses: Docker 20.10, Podman 4."""
NEWEST_API = DEFAULT_DOCKER_API_VERSION
"""The newest that the SDK was written for. Later ones leave out what it and we read."""
SOON_SECONDS, PATIENT_SECONDS = 10, 120
"""How long an answer is waited for, first without a word and then with one; only a socket that
takes the connection gets so long: where systemd holds it, Docker is perhaps just being started."""
_VM = 'or take the kernel "Lab VM", which has an engine of its own'


class Client(docker.DockerClient):
    """The SDK's client, but it loses nothing of what a program in a container says."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.api = _Api(*args, **kwargs)


class _Api(docker.APIClient):
    """Reads on where the HTTP library stopped, which may have read more than the answer's head.

    The SDK reads from the socket beneath: on a busy machine it loses the program's first words
    (https://github.com/docker/docker-py/issues/3332).
    """

    def _read_from_socket(
        self, response: Any, stream: bool, tty: bool = True, demux: Any = False
    ) -> Any:
        sdk: Any = self  # its stubs leave out what is private
        sdk._disable_socket_timeout(sdk._get_raw_response_socket(response))
        frames = _frames(response.raw._fp.fp, tty)
        said: Any = (demux_adaptor(*frame) if demux else frame[1] for frame in frames)
        if stream:
            return said
        with contextlib.closing(response):
            return consume_socket_output(said, demux=demux)


def _frames(file: Any, tty: bool) -> Iterator[tuple[Any, bytes]]:
    """Yield pieces with their streams; without a terminal, each has a head of 8 bytes (Docker)."""
    if tty:
        yield from ((STDOUT, data) for data in iter(partial(file.read1, 4096), b""))
    while head := file.read(8):
        yield head[0], file.read(int.from_bytes(head[4:], "big"))


def find(start: bool = False) -> tuple[docker.DockerClient, str]:
    """Connect to the engine that was asked for, or to the first that answers; also its address.

    Where none is there at all, `start` makes a private one, if this process may have one.
    """
    daemon.forget_if_ended()
    if found := addresses.chosen(os.environ):
        return connect(found), found.address
    failures: dict[str, OSError] = {}
    ill: list[LabError] = []
    for path in usual_sockets():
        found = Chosen(f"unix://{path}", "the usual places")
        try:
            addresses.reach(found.address)
            return connect(found), found.address
        except OSError as error:
            failures[found.address] = error
        except LabError as error:
            ill.append(error)
    if start and not ill and addresses.may_be_private(gather()):
        own = daemon.of_this_process().address
        return connect(Chosen(own, "us")), own
    if ill:
        raise ill[0]
    no = addresses.why_no_engine(failures, gather(), addresses.installed())
    raise EngineDown("no container engine answers", no.reason, f"{no.remedy}; {_VM}")


def connect(to: Chosen) -> docker.DockerClient:
    """Connect, and agree on a version of the API: the newest that both sides know."""
    if to.address.startswith("unix://"):
        try:
            addresses.reach(to.address)
        except OSError as error:
            raise _down(to, error) from error
    make: Callable[..., docker.DockerClient] = Client.from_env
    if to.asked_by != "DOCKER_HOST":
        tls = ContextAPI.get_context(to.context).TLSConfig if to.context else None
        make = partial(Client, base_url=to.address, tls=tls or False)
    try:
        said = _version(make, to.address)
    except InvalidVersion as error:
        what = f"the engine at {to.address} is too old"
        raise LabError(what, str(error), "upgrade it") from error
    except (DockerException, TLSParameterError, ValueError) as error:  # a port that is not a number
        raise _down(to, OSError(0, str(error))) from error
    # a build or a push may be silent for long, so from here on the patience is the SDK's own
    return make(
        version=agreed_version(said, to.address), timeout=PATIENCE * DEFAULT_TIMEOUT_SECONDS
    )


def _version(make: Callable[..., docker.DockerClient], address: str) -> dict[str, Any]:
    try:
        return _ask(make, SOON_SECONDS)
    except DockerException as error:
        if not isinstance(error.__cause__, ReadTimeout):
            raise
    told = "does not answer yet; waiting, two minutes at most …"
    print(f"The engine at {address} {told}", flush=True)
    return _ask(make, PATIENT_SECONDS)


def _ask(make: Callable[..., docker.DockerClient], seconds: float) -> dict[str, Any]:
    """Ask an engine for its version, which making a client does as well."""
    with contextlib.closing(make(timeout=seconds)) as client:
        try:
            said: dict[str, Any] = client.version(api_version=False)
        except RequestException as error:  # the SDK wraps only what making the client meets
            raise DockerException(str(error)) from error
    return said


def agreed_version(said: dict[str, Any], address: str) -> str:
    """Choose the API's version by what the engine said; raises `LabError`."""
    newest, oldest = said["ApiVersion"], said.get("MinAPIVersion") or said["ApiVersion"]
    who = f"version {said.get('Version', '?')} speaks API {oldest} to {newest}"
    if version_lt(newest, OLDEST_API):
        why = f"{who}, and {OLDEST_API} is needed"
        remedy = "upgrade it to Docker 20.10 or Podman 4, or a later one"
        raise LabError(f"the engine at {address} is too old", why, remedy)
    if version_lt(NEWEST_API, oldest):
        what = f"the engine at {address} is too new for this course's Docker SDK"
        remedy = "pip install --upgrade docker"
        raise LabError(what, f"{who}, and the SDK speaks {NEWEST_API} at most", remedy)
    return newest if version_lt(newest, NEWEST_API) else NEWEST_API


def _down(to: Chosen, error: OSError) -> EngineDown:
    no = addresses.why_no_engine({to.address: error}, gather(), addresses.installed())
    where = f"{error.strerror}; the address comes from {to.asked_by}"
    return EngineDown(f"no engine answers at {to.address}", where, no.remedy)


@dataclass(frozen=True)
class Engine(Closing):
    """A connection to a container engine, and what the engine says about itself.

    `kind` is `"docker"` or `"podman"`, `kernel_release` is that of the kernel under the containers
    (`uname -r`), `newest_api` the newest version of the API that the engine speaks, `cpu` the
    processor as images name it (`"amd64"`), `image_store` `"classic"` or `"containerd"`: see
    `labsupport.image.sizes`.
    `client` is the Docker SDK's client (`client.api.api_version` is the version of the API that is
    spoken), `address` is what `DOCKER_HOST` would be.
    """

    kind: str
    version: str
    newest_api: str
    kernel_release: str
    cpu: str
    cgroup_version: int
    storage_driver: str
    image_store: str
    rootless: bool
    client: docker.DockerClient = field(repr=False)
    address: str
    _daemon: daemon.Daemon | None = field(default=None, repr=False)

    @classmethod
    def connect(cls) -> Engine:
        """Connect to the engine of this place.

        In the Lab VM and in the page that is the guest's own, started now if it is not running.
        Elsewhere it is the one in `DOCKER_HOST` or in Docker's current context, else the first of
        the usual sockets that answers, else, for root, a private one that ends with this process.
        Raises `LabError`, or `EngineDown` where one should answer.
        """
        if place := daemon.guest():
            own = Chosen(daemon.in_guest().address, place)
            engine = cls._of(connect(own), own.address)
        else:
            engine = cls._of(*find(start=True))
        trace.environment.update(engine_environment(engine.address, engine.kind))
        for leftover in listing.find_in(engine.client):  # of notebooks that were killed
            leftover.remove()
        return engine

    @classmethod
    def start_private(cls) -> Engine:
        """Start an engine apart from the machine's own; it ends with this process or `close()`.

        Takes root. Its containers reach each other and this machine, and ports are published at
        127.0.0.1; only with `network_mode="host"` do they reach the world.
        """
        own = daemon.private()
        return cls._of(connect(Chosen(own.address, "us")), own.address, own)

    @classmethod
    def _of(
        cls, client: docker.DockerClient, address: str, own: daemon.Daemon | None = None
    ) -> Engine:
        """Ask it who it is; Docker and Podman differ in what they leave out."""
        version, info = client.version(api_version=False), client.info()
        parts = " ".join(part.get("Name", "") for part in version.get("Components") or [])
        status = [value for name, value in info.get("DriverStatus") or () if name == "driver-type"]
        in_containerd = any(value.startswith(CONTAINERDS) for value in status)
        return cls(
            kind="podman" if "podman" in parts.lower() else "docker",
            version=version["Version"],
            newest_api=version["ApiVersion"],
            kernel_release=version.get("KernelVersion") or info["KernelVersion"],
            cpu=version["Arch"],
            cgroup_version=int(info.get("CgroupVersion") or 1),
            storage_driver=info["Driver"],
            image_store="containerd" if in_containerd else "classic",
            rootless=any("rootless" in option for option in info.get("SecurityOptions") or []),
            client=client,
            address=address,
            _daemon=own,
        )

    def close(self) -> None:
        """Close the connection; a private engine is stopped and removed."""
        self.client.close()
        if self._daemon:
            self._daemon.stop()

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"{k}: {v}" for k, v in self._rows().items())])

    def _repr_html_(self) -> str:
        return html_table((), self._rows().items(), self._headline())

    def _headline(self) -> str:
        return f"{self.kind.capitalize()} {self.version} at {self.address}"

    def _rows(self) -> dict[str, str]:
        spoken = self.client.api.api_version
        newest = "" if spoken == self.newest_api else f" (it knows {self.newest_api}, too)"
        return {
            "API": f"{spoken}{newest}",
            "kernel": f"Linux {self.kernel_release} on {self.cpu}",
            "control groups": f"version {self.cgroup_version}",
            "storage driver": self.storage_driver,
            "image store": self.image_store,
            "runs as": "an ordinary user (rootless)" if self.rootless else "root",
        }
