"""How large is an image? Two answers, which are often taken for each other.

Its *content* is what travels: the compressed layers, as a registry has them. On *disk* it takes
what its files take when they are unpacked. Docker's classic store throws the content away once it
is unpacked, and so does Podman; containerd's store (Docker Desktop, and Docker Engine since 29)
keeps both, so the same image takes more of the disk there. What `docker image inspect` calls `Size`
is the unpacked size in the classic store, and the content's in containerd's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from docker.utils import version_gte

from labsupport.engine import listing

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

MANIFESTS_API = "1.48"  # "GET /images/{name}/json now returns the Manifests field"


@dataclass(frozen=True)
class ImageSizes:
    """The sizes of an image in bytes, layers that it shares with other images included.

    `content_bytes` is what is stored of it as it travels (0 in the classic store, which keeps
    nothing of that), `unpacked_bytes` what its files take, `disk_bytes` both together.
    """

    name: str
    image_store: str
    storage_driver: str
    content_bytes: int
    unpacked_bytes: int

    @property
    def disk_bytes(self) -> int:
        """What the image takes of the engine's disk."""
        return self.content_bytes + self.unpacked_bytes

    @property
    def explanation(self) -> str:
        """Why these two numbers are as they are, in a sentence."""
        if self.image_store == "containerd":
            return "containerd's store keeps the layers as they travel, and unpacked beside them"
        if self.storage_driver == "vfs":
            return "vfs keeps each layer unpacked together with all below it, so it takes more yet"
        return "the classic store keeps the layers unpacked only, and packs them again for a push"

    def __str__(self) -> str:
        content = (
            f"{self.content_bytes / 1e6:.1f} MB as it travels + " if self.content_bytes else ""
        )
        return (
            f"{self.name}: {content}{self.unpacked_bytes / 1e6:.1f} MB unpacked "
            f"= {self.disk_bytes / 1e6:.1f} MB of the disk\n({self.explanation})"
        )


def image_sizes(engine: Engine, name: str) -> ImageSizes:
    """Ask the engine for the sizes of an image.

    Raises:
        docker.errors.ImageNotFound: the engine has no image of that name.

    """
    image = engine.client.images.get(name)
    whose = name, engine.image_store, engine.storage_driver
    if engine.image_store != "containerd":
        return ImageSizes(*whose, 0, image.attrs["Size"])
    if version_gte(engine.newest_api, MANIFESTS_API):
        content, total = _of_manifests(engine, image.id or name)
    else:
        content, total = image.attrs["Size"], _as_listed(engine, image.id or name)
    return ImageSizes(*whose, content, total - content)


def _of_manifests(engine: Engine, identity: str) -> tuple[int, int]:
    """Add up what is here of an image that may be for several processors: content, and all."""
    api = engine.client.api
    address = f"{api.base_url}/v{MANIFESTS_API}/images/{quote(identity, safe=':')}/json"
    answer = api.get(address, params={"manifests": "1"}, timeout=api.timeout)
    answer.raise_for_status()
    here: list[dict[str, Any]] = [
        each["Size"] for each in answer.json()["Manifests"] if each.get("Available")
    ]
    return sum(size["Content"] for size in here), sum(size["Total"] for size in here)


def _as_listed(engine: Engine, identity: str) -> int:
    """Return the size in `docker image ls`, which was all together before API 1.48, too."""
    listed = listing.images(engine.client)
    return int(next(each["Size"] for each in listed if each["Id"] == identity))
