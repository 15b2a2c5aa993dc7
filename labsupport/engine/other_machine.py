"""Another machine that pulls from a registry, without another engine.

It does over the line what an engine does: it asks for the manifest, and then for those layers that
it has not got yet. It cannot run them; how much had to be fetched is in the registry's log.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labsupport.errors import RegistryFailed

if TYPE_CHECKING:
    from labsupport.engine.registry import Registry

AGENT = "the-other-machine"


@dataclass(frozen=True)
class Pulled:
    """What a pull fetched: bytes by digest, of layers and of the configuration.

    `config` and `manifest` are the digests of the image's configuration and of its manifest.
    """

    config: str
    manifest: str
    fetched: dict[str, int]

    def identity(self, image_store: str) -> str:
        """Return the image's ID in an engine: containerd's store goes by the manifest."""
        return self.manifest if image_store == "containerd" else self.config

    @property
    def bytes(self) -> int:
        """All that was fetched."""
        return sum(self.fetched.values())


class OtherMachine:
    """A machine that keeps what it has pulled; `has` are the digests of that."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.has: set[str] = set()

    def pull(self, repository: str, tag: str) -> Pulled:
        """Pull an image: fetch what is not here yet, and verify it.

        Raises:
            RegistryFailed: the registry has no such image, or sends something else.

        """
        path = f"{self.registry.user}/{repository}"
        with self.registry.open(f"{path}/manifests/{tag}", AGENT) as answer:
            said = answer.read()
        manifest, digest_of_it = json.loads(said), f"sha256:{hashlib.sha256(said).hexdigest()}"
        digests = [manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])]
        fetched = {
            digest: self._fetch(path, digest)
            for digest in dict.fromkeys(digests)
            if digest not in self.has
        }
        self.has |= set(fetched)
        return Pulled(digests[0], digest_of_it, fetched)

    def _fetch(self, path: str, digest: str) -> int:
        found, size = hashlib.sha256(), 0
        with self.registry.open(f"{path}/blobs/{digest}", AGENT) as answer:
            while part := answer.read(1 << 20):
                found.update(part)
                size += len(part)
        if f"sha256:{found.hexdigest()}" != digest:
            raise RegistryFailed(f"{digest} was asked for", f"what came is {found.hexdigest()}")
        return size
