"""Images made by hand: in layouts that no engine here writes, and with what none would write."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Member = tuple[tarfile.TarInfo, bytes]
Files = dict[str, bytes]

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
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
    """As `docker load` takes it at the least."""
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


def oci(layers: Iterable[bytes], compress: Any = bytes, kind: str = "", **more: Any) -> Files:
    """As an OCI layout; `compress` makes a layer's blob of its tar archive."""
    layers = list(layers)
    blobs: Files = {}
    packed = [compress(layer) for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": put(blobs, config(layers, **more), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(blobs, blob, LAYER_TYPE + kind) for blob in packed],
    }
    platform = {"os": "linux", "architecture": more.get("architecture", ARCHITECTURE)}
    found = put(blobs, json.dumps(manifest).encode(), MANIFEST_TYPE, platform=platform)
    return layout(blobs, [found])


def docker_25(layers: Iterable[bytes], tag: str = "made:1") -> Files:
    """As `docker save` writes it from version 25 on: an OCI layout, and a manifest.json with it."""
    files = oci(layers)
    (found,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[blob_name(found["digest"])])
    found["annotations"] = {
        "io.containerd.image.name": f"docker.io/library/{tag}",
        "org.opencontainers.image.ref.name": tag.partition(":")[2],
    }
    old = {
        "Config": blob_name(manifest["config"]["digest"]),
        "RepoTags": [tag],
        "Layers": [blob_name(layer["digest"]) for layer in manifest["layers"]],
    }
    files["index.json"] = index([found])
    files["manifest.json"] = json.dumps([old]).encode()
    return files


def layout(blobs: Files, manifests: Iterable[Mapping[str, Any]]) -> Files:
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": index(manifests),
        **blobs,
    }


def index(manifests: Iterable[Mapping[str, Any]]) -> bytes:
    said = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(manifests)}
    return json.dumps(said).encode()


def put(blobs: Files, content: bytes, kind: str, **more: Any) -> dict[str, Any]:
    """Add a blob; return its descriptor."""
    blobs[blob_name(digest(content))] = content
    return {"mediaType": kind, "digest": digest(content), "size": len(content), **more}


def blob_name(named: str) -> str:
    return "blobs/" + named.replace(":", "/")


def lay_out(files: Mapping[str, bytes], where: Path) -> Path:
    """Write a layout as a folder."""
    for name, content in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    return where
