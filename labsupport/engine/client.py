"""Find a container engine and connect to it; in the Lab VM, start its own on first use."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import docker

from labsupport.closing import Closing
from labsupport.engine import daemon, describing, finding, leftovers
from labsupport.engine.addresses import Chosen
from labsupport.engine.base_image import base_image
from labsupport.engine.image_sizes import ImageSizes, image_sizes
from labsupport.engine.lecture_images import lecture_image

if TYPE_CHECKING:
    from docker.models.images import Image


@dataclass(frozen=True)
class Engine(Closing):
    """A connection to a container engine, and what the engine says about itself.

    `client` is the Docker SDK's client, `kind` is `"docker"` or `"podman"`, `kernel_release` is
    that of the kernel under the containers (`uname -r`), `address` is what `DOCKER_HOST` would be.
    `newest_api` is the newest version of the API that the engine speaks (`client.api.api_version`
    is the one that is spoken), `cpu` the processor as images name it (`"amd64"`), `image_store`
    is `"classic"` or `"containerd"`: see `sizes`.
    """

    client: docker.DockerClient = field(repr=False)
    address: str
    kind: str
    version: str
    newest_api: str
    kernel_release: str
    cpu: str
    cgroup_version: int
    storage_driver: str
    image_store: str
    rootless: bool
    _daemon: daemon.Daemon | None = field(default=None, repr=False)

    @classmethod
    def connect(cls) -> Engine:
        """Connect to the engine of this place.

        In the Lab VM that is the guest's own, started now if it is not running. Elsewhere it is the
        one in `DOCKER_HOST` or in Docker's current context, else the first of the usual sockets
        that answers. Raises `EngineMissing`, `EngineDown`, `EngineRefused`, `EngineTooOld`,
        `EngineTooNew` or `EngineFailed`.
        """
        if os.environ.get("LAB_IN_VM") == "1":
            own = Chosen(daemon.in_guest().address, "the Lab VM")
            engine = cls._of(finding.connect(own), own.address)
        else:
            engine = cls._of(*finding.find())
        _sweep(engine)
        return engine

    @classmethod
    def start_private(cls, storage_driver: str | None = None) -> Engine:
        """Start an engine apart from the machine's own; it ends with this process or `close()`.

        Takes root. Its containers reach each other and this machine, and ports are published at
        127.0.0.1; only with `network_mode="host"` do they reach the world.
        """
        own = daemon.private(storage_driver=storage_driver)
        return cls._of(finding.connect(Chosen(own.address, "us")), own.address, own)

    @classmethod
    def _of(
        cls, client: docker.DockerClient, address: str, own: daemon.Daemon | None = None
    ) -> Engine:
        said = describing.describe(client.version(api_version=False), client.info())
        return cls(client=client, address=address, _daemon=own, **asdict(said))

    def base_image(self) -> Image:
        """Return the course's base image, `labsupport/busybox`; made here if it is not there."""
        return base_image(self.client)

    def lecture_image(self, name: str) -> Image:
        """Return one of the lecture's public images, `"alpine"`, `"ubuntu"` or `"python"`.

        It is pulled if need be, and if that is possible; see `lecture_images` for the errors.
        """
        return lecture_image(self, name)

    def sizes(self, name: str) -> ImageSizes:
        """Tell what an image weighs as it travels, and what it takes of the engine's disk."""
        return image_sizes(self, name)

    def close(self) -> None:
        """Close the connection; a private engine is stopped and removed."""
        self.client.close()
        if self._daemon:
            self._daemon.stop()

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"{k}: {v}" for k, v in self._rows().items())])

    def _repr_html_(self) -> str:
        return describing.table(self._rows(), self._headline())

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
            "image store": f"{self.image_store}",
            "runs as": "an ordinary user (rootless)" if self.rootless else "root",
        }


def _sweep(engine: Engine) -> None:
    """Remove what notebooks that were killed have left in the engine."""
    for leftover in leftovers.find_in(engine.client):
        leftover.remove()
