"""Find a container engine and connect to it; in the Lab VM, start its own on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import docker
from docker.utils import version_lt

from labsupport.engine import daemon, finding, leftovers
from labsupport.engine.base_image import base_image
from labsupport.errors import EngineTooOld

if TYPE_CHECKING:
    from docker.models.images import Image

# the first that knows cgroup v2 and says which version it uses: Docker 20.10, Podman 4
OLDEST_API = "1.41"


@dataclass(frozen=True)
class Engine:
    """A connection to a container engine, and what the engine says about itself.

    `client` is the Docker SDK's client, `kind` is `"docker"` or `"podman"`, `kernel_release` is
    that of the kernel under the containers (`uname -r`), `address` is what `DOCKER_HOST` would be.
    """

    client: docker.DockerClient = field(repr=False)
    address: str
    kind: str
    version: str
    kernel_release: str
    cgroup_version: int
    storage_driver: str
    rootless: bool
    _daemon: daemon.Daemon | None = field(default=None, repr=False)

    @classmethod
    def connect(cls) -> Engine:
        """Connect to the engine of this place.

        In the Lab VM that is the guest's own, started now if it is not running. Elsewhere it is the
        one in `DOCKER_HOST` or in Docker's current context, else the first of the usual sockets
        that answers. Raises `EngineMissing`, `EngineDown`, `EngineRefused`, `EngineTooOld` or
        `EngineFailed`.
        """
        if os.environ.get("LAB_IN_VM") == "1":
            own = daemon.in_guest()
            engine = cls._of(docker.DockerClient(base_url=own.address), own.address)
        else:
            engine = cls._of(*finding.find())
        _sweep(engine)
        return engine

    @classmethod
    def start_private(cls) -> Engine:
        """Start an engine apart from the machine's own; it ends with this process or `close()`.

        Takes root. Its containers reach each other and this machine, and ports are published at
        127.0.0.1; only with `network_mode="host"` do they reach the world.
        """
        own = daemon.private()
        return cls._of(docker.DockerClient(base_url=own.address), own.address, own)

    @classmethod
    def _of(
        cls, client: docker.DockerClient, address: str, own: daemon.Daemon | None = None
    ) -> Engine:
        version: dict[str, Any] = client.version()
        info: dict[str, Any] = client.info()
        parts = " ".join(part.get("Name", "") for part in version.get("Components") or [])
        kind = "podman" if "podman" in parts.lower() else "docker"
        if version_lt(version["ApiVersion"], OLDEST_API):
            raise EngineTooOld(
                f"the engine at {address} is too old",
                f"{kind} {version['Version']} speaks API {version['ApiVersion']}, and "
                f"{OLDEST_API} is needed",
                "upgrade it to Docker 20.10 or Podman 4, or a later one",
            )
        return cls(
            client=client,
            address=address,
            kind=kind,
            version=version["Version"],
            kernel_release=version.get("KernelVersion") or info["KernelVersion"],
            cgroup_version=int(info.get("CgroupVersion") or 1),
            storage_driver=info["Driver"],
            rootless=any("rootless" in option for option in info.get("SecurityOptions") or []),
            _daemon=own,
        )

    def base_image(self) -> Image:
        """Return the course's base image, `labsupport/busybox`; made here if it is not there."""
        return base_image(self.client)

    def close(self) -> None:
        """Close the connection; a private engine is stopped and removed."""
        self.client.close()
        if self._daemon:
            self._daemon.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _sweep(engine: Engine) -> None:
    """Remove what notebooks that were killed have left in the engine."""
    for leftover in leftovers.find_in(engine.client):
        leftover.remove()
