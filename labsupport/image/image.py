"""An image, read: its configuration, history and layers, and what they waste or give away.

Each digest in it is verified, and what is read is bounded (`Limits`).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from docker.errors import APIError, ImageNotFound
from requests.exceptions import RequestException

from labsupport.build.bases import ARCHITECTURES
from labsupport.engine import listing
from labsupport.engine.daemon import scratch
from labsupport.errors import LabError, nearest
from labsupport.image import blobs
from labsupport.image.blobs import Archive, Blob, Limits, Meter
from labsupport.image.layers import (
    Entry,
    Layer,
    LostFile,
    Reader,
    Step,
    Tree,
    find_file,
    no_file,
    read_layer,
)
from labsupport.ownership.marks import Closing

if TYPE_CHECKING:
    from docker import DockerClient

    from labsupport.engine.client import Engine

__all__ = ["Entry", "Image", "Layer", "Limits", "LostFile", "Step"]


def _saved(client: DockerClient, name: str) -> Iterator[bytes]:
    """Yield the archive of an engine's image, as `docker save` does; raises `LabError`."""
    try:
        image = client.images.get(name)
        asked = next((tag for tag in (name, f"{name}:latest") if tag in image.tags), None)
        yield from image.save(named=asked or bool(image.tags))
    except ImageNotFound as error:
        tags = [tag for image in listing.images(client) for tag in image["RepoTags"] or ()]
        raise LabError(f"the engine has no image {name!r}", nearest(name, tags)) from error
    except (APIError, RequestException) as error:
        raise LabError(f"the image {name!r} could not be saved", str(error)) from error


def _open(path: Path, limits: Limits) -> Archive:
    """Open an archive, also a compressed one."""
    file = blobs.open_regular(path)
    with _closed_on_error(file):
        whole = Blob(path.name, file, 0, os.fstat(file.fileno()).st_size)
        if not whole.is_compressed:
            return Archive(file, limits)
        with file:
            chunks = blobs.decompressed(whole.chunks())
            return _keep(Meter(limits).flow(chunks, whole.size_bytes), limits)


def _keep(chunks: Iterable[bytes], limits: Limits) -> Archive:
    """Keep an archive in a file without a name: it is gone when it is closed, or we are killed.

    Raises `LabError` if there is no room.
    """
    file = tempfile.TemporaryFile(dir=scratch(), buffering=0)  # noqa: SIM115
    with _closed_on_error(file):
        for chunk in chunks:
            _write(file, chunk)
        file.seek(0)
        return Archive(file, limits)


def _write(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        why = str(error.strerror)
        remedy = "make room there, or name another folder: export TMPDIR=…"
        raise LabError(f"the image cannot be kept in {scratch()}", why, remedy) from error


@contextmanager
def _closed_on_error(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except BaseException:  # an interrupted cell, too
        file.close()
        raise


# ---- its parts, by the archive's manifest.json, or by the index.json of an OCI layout
#
# Every `docker save` and `podman save` writes the first, kaniko and BuildKit's `type=docker` too.
# From Docker 25 on, it names blobs of the OCI layout that is in the same archive. BuildKit's
# `type=oci` and skopeo's `oci-archive:` write the second alone.

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_LIST = 10_000


class Said:
    """A value out of an image's JSON, and where it was; each question names the form expected.

    It is read with care, for it may say anything.
    """

    def __init__(self, value: object, where: str) -> None:
        self.value, self.where = value, where

    def __getitem__(self, key: str) -> Said:
        """Return a member of an object; one that is not there has the value None."""
        return Said(self.object().get(key), f"{self.where}: {key}")

    def object(self) -> dict[str, Any]:
        """Return it as an object; nothing is an empty one."""
        return self._as(dict, "an object") or {}

    def items(self) -> list[Said]:
        """Return it as a list; nothing is an empty one."""
        values: list[object] = self._as(list, "a list") or []
        blobs.bounded(len(values), _LONGEST_LIST, f"items in {self.where}")
        return [Said(value, f"{self.where}[{at}]") for at, value in enumerate(values)]

    def text(self) -> str:
        """Return it as text; nothing is an empty one."""
        return self._as(str, "text") or ""

    def texts(self) -> tuple[str, ...]:
        """Return it as a list of texts."""
        return tuple(each.text() for each in self.items())

    def digest(self) -> str:
        """Return it as a digest that we can verify."""
        if not _DIGEST.fullmatch(self.text()):
            raise LabError(f"{self.where} is not a digest", repr(self.text()[:80]))
        return self.text()

    def _as(self, kind: type, form: str) -> Any:
        if self.value is not None and not isinstance(self.value, kind):
            told = json.dumps(self.value, default=str)[:80]
            raise LabError(f"{self.where} is not {form}", f"it is {told}")
        return self.value


@dataclass(frozen=True)
class Parts:
    """An image's files: the configuration with its digest, layers with the digests they go by."""

    config: Said
    digest: str
    layers: tuple[tuple[Blob, str], ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """An image as the archive lists it: its tags, and the names of its files."""

    names: tuple[str, ...]
    config: str
    layers: tuple[str, ...]
    architecture: str = ""


def find_parts(archive: Archive, meter: Meter, name: str | None) -> Parts:
    """Find the image of that name, or the one that there is; raises `LabError`."""
    if manifest := archive.blob("manifest.json"):
        images = [
            Listed(image["RepoTags"].texts(), image["Config"].text(), image["Layers"].texts())
            for image in read_json(manifest, meter)[0].items()
        ]
    elif index := archive.blob("index.json"):
        images = list(_in_layout(archive, index, meter))
    else:
        hints = {
            "repositories": " (a docker save of before 2016, perhaps)",
            "etc/passwd": " (the files of a container, perhaps, from docker export)",
        }
        found = "".join(hint for file, hint in hints.items() if archive.blob(file))
        why = f"there is no manifest.json or index.json in it{found}"
        remedy = "make one: docker save --output image.tar NAME"
        raise LabError("this is not an image", why, remedy)
    if not images:
        raise LabError("the archive names no image", "its list is empty")
    image = _chosen(images, name)
    blob, said = _file(archive, image.config)
    config, digest = read_json(blob, meter)
    blobs.compare(blob.name, said, digest)
    blobs.bounded(len(image.layers), meter.limits.layers, "layers")
    return Parts(config, digest, tuple(_file(archive, each) for each in image.layers), image.names)


def read_json(blob: Blob, meter: Meter) -> tuple[Said, str]:
    """Read a file of JSON; return what it says, and its digest."""
    meter.json(blob.name, blob.size_bytes)
    hashing = blobs.Hashing()
    raw = b"".join(hashing.flow(blob.chunks()))
    try:
        return Said(json.loads(raw), blob.name), hashing.digest
    except (ValueError, RecursionError) as error:
        raise LabError(f"{blob.name} is not JSON", str(error)) from error


_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def _in_layout(archive: Archive, index: Blob, meter: Meter) -> Iterator[Listed]:
    """List the images of an OCI layout, those of an index of several platforms among them."""
    waiting = [(each, "") for each in read_json(index, meter)[0]["manifests"].items()]
    while waiting:
        item, name = waiting.pop(0)
        name = next(filter(None, (item["annotations"][key].text() for key in _NAMES)), name)
        blob, digest = _file(archive, _blob_of(item))
        said, found = read_json(blob, meter)
        blobs.compare(blob.name, digest, found)
        waiting += [(each, name) for each in said["manifests"].items()]
        if said["config"].value and item["platform"]["os"].text() != "unknown":  # an attestation
            layers = tuple(_blob_of(layer) for layer in said["layers"].items())
            architecture = item["platform"]["architecture"].text()
            yield Listed((name,) if name else (), _blob_of(said["config"]), layers, architecture)


def _blob_of(item: Said) -> str:
    return f"blobs/{item['digest'].digest().replace(':', '/')}"


def _chosen(images: list[Listed], name: str | None) -> Listed:
    """Choose the image that has a name, or the only one; of several platforms, this machine's."""
    known = sorted({tag for image in images for tag in image.names or ("(without a name)",)})
    several = {image.names for image in images}  # those of other platforms have the same names
    if name is None and len(several) > 1:
        remedy = f"say which: Image.open(path, name={known[0]!r})"
        raise LabError(f"the archive holds {len(several)} images", ", ".join(known), remedy)
    found = images
    if name is not None:
        called = {name, f"{name}:latest"}
        found = [image for image in images if called & {*image.names}]
    if not found:
        raise LabError(f"the archive holds no image {name!r}", nearest(name or "", known))
    ours = ARCHITECTURES.get(os.uname().machine)
    return next((image for image in found if image.architecture == ours), found[0])


# kaniko: sha256:HEX for the configuration; docker and podman: HEX.json, HEX.tar; crane: HEX.tar.gz
_NAMED_BY_DIGEST = re.compile(
    r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json|\.tar|\.tar\.gz)?"
)


def _file(archive: Archive, name: str) -> tuple[Blob, str]:
    """Return a file, and the digest that it is named by, if it is."""
    if not (blob := archive.blob(name)):
        raise LabError("the image is not whole", f"there is no file {name[:200]!r}")
    found = _NAMED_BY_DIGEST.fullmatch(name)
    return blob, f"sha256:{found[1]}" if found else ""


class Image(Closing):
    """An image out of an archive or an engine; made by `open` and `of`.

    `layers` from the lowest up; `history`, also the lines that made no layer; `config`, the image's
    JSON; `names`, its tags; `architecture` as in `"amd64"`; `digest`, that of the configuration,
    which is the image's ID.

    Sizes are in bytes, and those of regular files alone. Other numbers are what a layer takes in
    the archive (`Layer.blob_bytes`), on an engine's disk, and in `docker history`, which adds the
    length of each symbolic link's target.
    """

    layers: tuple[Layer, ...]
    history: tuple[Step, ...]
    config: dict[str, Any]
    names: tuple[str, ...]
    architecture: str
    digest: str

    def __init__(self, archive: Archive, limits: Limits, name: str | None = None) -> None:
        self._file, self._limits = archive.file, limits
        with _closed_on_error(self._file):
            self._read(find_parts(archive, meter := Meter(limits), name), meter)

    def _read(self, parts: Parts, meter: Meter) -> None:
        self._parts = parts
        self.config, self.names = parts.config.object(), parts.names
        self.architecture = parts.config["architecture"].text()
        self.digest = parts.digest
        self._tree, self._reader = Tree(meter), Reader()
        lines = parts.config["history"].items()
        diff_ids = [each.digest() for each in parts.config["rootfs"]["diff_ids"].items()]
        if len(diff_ids) != len(parts.layers):
            why = f"it names {len(diff_ids)} digests of layers, and there are {len(parts.layers)}"
            raise LabError("the configuration does not fit the layers", why)
        made = [line["created_by"].text() for line in lines if _made(line)]
        by = made if len(made) == len(diff_ids) else [""] * len(diff_ids)
        self.layers = tuple(
            self._layer(at, diff_ids[at - 1], by[at - 1], meter)
            for at in range(1, len(diff_ids) + 1)
        )
        left = iter(self.layers if by == made else ())
        self.history = tuple(
            Step(
                line["created_by"].text(),
                not _made(line),
                next(left, None) if _made(line) else None,
            )
            for line in lines
        )

    @classmethod
    def open(
        cls, path: str | Path, *, name: str | None = None, limits: Limits | None = None
    ) -> Image:
        """Read an image from an archive, as `docker save` writes it, or of an OCI layout.

        `name` tells which, if there are several. The layers may be plain, or compressed with gzip,
        bzip2, xz or zstd, and so may be the archive. Raises `LabError`, or `BadLayer` for a layer
        that is damaged, changed, or made to harm.
        """
        limits = limits or Limits()
        return cls(_open(Path(path), limits), limits, name)

    @classmethod
    def of(cls, engine: Engine, name: str) -> Image:
        """Read an image of an engine, as `docker save` streams it.

        `name` is a tag or an ID. The archive is in a file without a name for as long as the image
        is in use: `close()` removes it, and so does the end of this process. Raises `LabError`,
        also if there is no room for it, and as `open` does.
        """
        limits = Limits()
        return cls(_keep(_saved(engine.client, name), limits), limits)

    @property
    def size_bytes(self) -> int:
        """The sizes of all regular files in all layers."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def wasted_bytes(self) -> int:
        """The bytes that are in a layer, and that no container of the image can see.

        A later layer has deleted or replaced their file, and no hard link leads to it.
        """
        return sum(self.layers[at - 1].files[path].size_bytes for at, path in self.hidden)

    @property
    def efficiency(self) -> float:
        """The share of the bytes in all layers that a container sees; 1.0 is the best."""
        return 1 - self.wasted_bytes / self.size_bytes if self.size_bytes else 1.0

    @cached_property
    def hidden(self) -> Mapping[tuple[int, str], int]:
        """Which files nobody sees: {(number of its layer, path): number of the layer over it}."""
        seen = {entry.named or entry for entry in self._tree.entries.values()}
        return {
            (old.layer, old.path): layer.number
            for layer in self.layers
            for old in layer.gone.values()
            if old.kind == "file" and old not in seen
        }

    def tree(self) -> Mapping[str, Entry]:
        """Return what a container sees, by path; `entry.layer` tells where each is from."""
        return MappingProxyType(dict(sorted(self._tree.entries.items())))

    def lost_files(self) -> list[LostFile]:
        """Return the files that a layer deleted and an earlier one still holds."""
        return [
            LostFile(
                path, old.size_bytes, self.layers[old.layer - 1], layer, partial(self._content, old)
            )
            for layer in self.layers
            for path, old in sorted(layer.gone.items())
            if old.kind == "file" and not (path in layer.files and layer.files[path].is_file)
        ]

    def read(self, path: str, layer: int | Layer | None = None) -> bytes:
        """Return a file's content: what a container reads, or what one layer has.

        Links are followed, inside of the image. Raises `LabError` if there is no such file, or if
        it has more than `Limits.file_bytes`.
        """
        if layer is None:
            return self._content(find_file(self._tree.entries, path, "the image"))
        number = layer.number if isinstance(layer, Layer) else layer
        if not 1 <= number <= len(self.layers):
            there = f"there are layers 1 to {len(self.layers)}"
            raise no_file(path, f"layer {number}", there)
        return self._content(find_file(self.layers[number - 1].files, path, f"layer {number}"))

    def close(self) -> None:
        """Close the archive; a file of our own is gone then. All but `read` still works."""
        self._file.close()

    def __repr__(self) -> str:
        name = ", ".join(self.names) or self.digest[:19]
        return f"<Image {name}: {len(self.layers)} layers, {self.size_bytes / 1e6:.1f} MB>"

    def _layer(self, number: int, diff_id: str, created_by: str, meter: Meter) -> Layer:
        blob, digest = self._parts.layers[number - 1]
        contents = read_layer(blob, digest, diff_id, number, meter)
        change = self._tree.stack(contents, number)
        return Layer(
            number, contents.digest, diff_id, blob.size_bytes, created_by,
            MappingProxyType(contents.entries), tuple(change.added), tuple(change.changed),
            MappingProxyType(change.gone),
        )  # fmt: skip

    def _content(self, entry: Entry) -> bytes:
        file = entry.named or entry
        if file.kind != "file":
            raise no_file(entry.path, f"layer {entry.layer}", "it is a hard link to nothing")
        blobs.bounded(file.size_bytes, self._limits.file_bytes, f"the bytes of {file.path[:200]!r}")
        return self._reader.read(self._parts.layers[file.layer - 1][0], file)


def _made(line: Said) -> bool:
    return not line["empty_layer"].value
