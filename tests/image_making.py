"""Images made by hand: in layouts that no engine here writes, and with what none would write."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

Member = tuple[tarfile.TarInfo, bytes]
Files = dict[str, bytes]

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")


def member(name: str, content: bytes = b"", **fields: Any) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def folder(name: str, **fields: Any) -> Member:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str) -> Member:
    return member(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hardlink(name: str, target: str) -> Member:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def tar(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
            for info, content in members:
                archive.addfile(info, io.BytesIO(content))
        return packed.getvalue()


def pack(files: Mapping[str, bytes]) -> bytes:
    return tar(member(name, content) for name, content in files.items())


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config(layers: Iterable[bytes], **more: Any) -> bytes:
    layers = list(layers)
    history = [{"created_by": f"step {at}"} for at in range(1, len(layers) + 1)]
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    said = {"architecture": ARCHITECTURE, "os": "linux", "rootfs": rootfs, "history": history}
    return json.dumps({**said, **more}).encode()


def docker(layers: Iterable[bytes], tags: Iterable[str] = ("made:1",), **more: Any) -> Files:
    """The minimum that `docker load` takes."""
    layers = list(layers)
    files = {f"layer{at}.tar": layer for at, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": list(files)}]
    files["config.json"] = config(layers, **more)
    files["manifest.json"] = json.dumps(manifest).encode()
    return files


def kaniko(layers: Iterable[bytes]) -> Files:
    """As kaniko's `--tar-path` writes it, by go-containerregistry."""
    layers = list(layers)
    said = config(layers)
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    files = {digest(blob).removeprefix("sha256:") + ".tar.gz": blob for blob in packed}
    manifest = [{"Config": digest(said), "RepoTags": ["kaniko:1"], "Layers": list(files)}]
    files = {digest(said): said, **files}
    files["manifest.json"] = json.dumps(manifest).encode()
    return files


def docker_25(
    layers: Iterable[bytes], compress: Any = bytes, tags: Iterable[str] = ("made:1",), **more: Any
) -> Files:
    """As `docker save` writes it from version 25 on; `compress` makes a layer's blob of its tar.

    The OCI layout that it also has is left out: the same blobs, under other lists.
    """
    layers = list(layers)
    blobs = [compress(layer) for layer in layers]
    said = config(layers, **more)
    manifest = {
        "Config": blob_name(digest(said)),
        "RepoTags": list(tags),
        "Layers": [blob_name(digest(blob)) for blob in blobs],
    }
    files = {blob_name(digest(blob)): blob for blob in (said, *blobs)}
    return {**files, "manifest.json": json.dumps([manifest]).encode()}


def oci(layers: Iterable[bytes], platform: Mapping[str, str] | None = None, **more: Any) -> Files:
    """An OCI layout without a manifest.json, as BuildKit's `type=oci` and skopeo write it."""
    layers = list(layers)
    said = config(layers, **more)
    manifest = json.dumps(
        {"config": {"digest": digest(said)}, "layers": [{"digest": digest(x)} for x in layers]}
    ).encode()
    where = platform or {"os": "linux", "architecture": json.loads(said)["architecture"]}
    index = {"manifests": [{"digest": digest(manifest), "platform": where}]}
    files = {blob_name(digest(blob)): blob for blob in (said, manifest, *layers)}
    return {**files, "index.json": json.dumps(index).encode()}


def listed(layout: Files) -> list[dict[str, Any]]:
    """What an OCI layout lists."""
    found: list[dict[str, Any]] = json.loads(layout["index.json"])["manifests"]
    return found


def blob_name(named: str) -> str:
    return "blobs/" + named.replace(":", "/")
