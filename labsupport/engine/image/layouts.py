"""Find an image's parts: its configuration and its layers, in Docker's layouts or OCI's.

`docker save` up to 24 and `podman save` write a `manifest.json` that names files; from Docker 25 on
they are blobs of an OCI layout beside it. kaniko and others write only the former, BuildKit and
skopeo often only the latter. See image-layout.md of the OCI image specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from labsupport.engine.image import oci
from labsupport.engine.image.blobs import Blob, Store
from labsupport.engine.image.limits import Meter
from labsupport.engine.image.saying import Said, read_json
from labsupport.errors import (
    BadManifest,
    NoSuchImage,
    NotAnImage,
    SeveralImages,
    TooManyFiles,
    nearest,
)

T = TypeVar("T")

# kaniko: sha256:HEX for the configuration; docker and podman: HEX.json, HEX.tar; crane: HEX.tar.gz
_NAMED_BY_DIGEST = re.compile(
    r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json|\.tar|\.tar\.gz)?"
)


@dataclass(frozen=True)
class Parts:
    """An image's files: the configuration with its bytes, layers with the digests they go by."""

    config: Said
    raw_config: bytes
    layers: tuple[tuple[Blob, str], ...]
    names: tuple[str, ...]


def find_parts(store: Store, meter: Meter, name: str | None, platform: str | None) -> Parts:
    """Find the image of that name and platform (`linux/amd64`), or the one that there is.

    Raises `NotAnImage`, `BadManifest`, `SeveralImages`, `NoSuchImage`, `DigestMismatch`.
    """
    docker, index = store.blob("manifest.json"), store.blob("index.json")
    if docker and not (index and platform):  # only an index tells of platforms
        return _of_docker(store, read_json(docker, meter)[0], meter, name)
    if index:
        return _of_oci(store, read_json(index, meter)[0], meter, name, platform)
    hints = {
        "repositories": " (a docker save of before 2016, perhaps)",
        "etc/passwd": " (the files of a container, perhaps, from docker export)",
    }
    raise NotAnImage(
        "this is no image",
        "there is neither a manifest.json nor an index.json in it"
        + "".join(hint for name, hint in hints.items() if store.blob(name)),
        "make one: docker save --output image.tar NAME",
    )


def _of_docker(store: Store, manifest: Said, meter: Meter, name: str | None) -> Parts:
    images = manifest.items()
    if not images:
        raise BadManifest("manifest.json names no image", "its list is empty")
    image = _chosen([(_tags(image), image) for image in images], name)
    config = image["Config"].text()
    said, raw = read_json(_there(store, config), meter, _digest_in(config))
    layers = _few(image["Layers"], meter)
    blobs = [(_there(store, layer.text()), _digest_in(layer.text())) for layer in layers]
    return Parts(said, raw, tuple(blobs), _tags(image))


def _of_oci(
    store: Store, index: Said, meter: Meter, name: str | None, platform: str | None
) -> Parts:
    found = oci.manifests(store, index, meter)
    if not found:
        raise BadManifest("index.json names no image", "none, at least, that is in the archive")
    named = _chosen([(names, names) for names in dict.fromkeys(each.names for each in found)], name)
    manifest = _for_machine([each for each in found if each.names == named], platform)
    config = _described(store, manifest["config"])
    said, raw = read_json(config[0], meter, config[1])
    blobs = [_described(store, layer) for layer in _few(manifest["layers"], meter)]
    return Parts(said, raw, tuple(blobs), named)


def _for_machine(found: list[oci.Manifest], platform: str | None) -> Said:
    """Choose the manifest for a platform; for this machine's, if there are several."""
    wanted = platform or oci.machine()
    if len(found) == 1 and (not platform or not found[0].platform):
        return found[0].said
    for manifest in found:
        if manifest.platform == wanted or manifest.platform.startswith(f"{wanted}/"):
            return manifest.said
    raise NoSuchImage(
        f"the archive holds no image for {wanted}",
        "it has: " + ", ".join(sorted(manifest.platform for manifest in found)),
        f"Image.open(path, platform={found[0].platform!r})",
    )


def _chosen(images: list[tuple[tuple[str, ...], T]], name: str | None) -> T:
    """Choose the image that has a name, or the only one."""
    names = [tag for tags, _ in images for tag in tags or ("(without a name)",)]
    if name is None:
        if len(images) > 1:
            raise SeveralImages(names)
        return images[0][1]
    for tags, image in images:
        if any(name in (tag, tag.removesuffix(":latest")) for tag in tags):
            return image
    raise NoSuchImage(f"the archive holds no image {name!r}", nearest(name, names))


def _tags(image: Said) -> tuple[str, ...]:
    return tuple(tag.text() for tag in image["RepoTags"].items())


def _few(layers: Said, meter: Meter) -> list[Said]:
    if len(layers.items()) > meter.limits.layers:
        raise TooManyFiles(meter.limits.layers, "layers")
    return layers.items()


def _there(store: Store, name: str) -> Blob:
    if not (blob := store.blob(name)):
        raise BadManifest("manifest.json is not true", f"there is no file {name[:200]!r}")
    return blob


def _described(store: Store, descriptor: Said) -> tuple[Blob, str]:
    if not (found := oci.described(store, descriptor)):
        digest = descriptor["digest"].text()
        raise BadManifest(f"{descriptor.where} is not true", f"{digest} was not saved with it")
    return found


def _digest_in(name: str) -> str:
    """Return the digest that a file is named by, if it is."""
    found = _NAMED_BY_DIGEST.fullmatch(name)
    return f"sha256:{found[1]}" if found else ""
