"""An image, read: its configuration, history and layers, and what they waste or give away.

An archive is never unpacked. It is anybody's work, and so may be damaged or made to harm: each
digest in it is verified, and what is read is bounded (`Limits`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from labsupport.closing import Closing
from labsupport.engine.image import history
from labsupport.engine.image.blobs import Archive, Store
from labsupport.engine.image.contents import Reader
from labsupport.engine.image.entries import Entry, Layer, LostFile, Step
from labsupport.engine.image.keeping import keep, open_store
from labsupport.engine.image.layer_reading import Contents, read_layer
from labsupport.engine.image.layouts import Parts, find_parts
from labsupport.engine.image.limits import Limits, Meter
from labsupport.engine.image.looking import find_file, hard_linked
from labsupport.engine.image.naming import is_digest
from labsupport.engine.image.tree import Change, Tree
from labsupport.engine.image.waste import Waste, find_waste
from labsupport.errors import BadManifest, GiantFile, NoSuchFile

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

__all__ = ["Entry", "Image", "Layer", "Limits", "LostFile", "Step"]


class Image(Closing):
    """An image out of an archive, a folder or an engine; made by `open` and `of`.

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

    def __init__(self, store: Store, parts: Parts, meter: Meter) -> None:
        self._store, self._parts, self._limits = store, parts, meter.limits
        self.config, self.names = parts.config.object(), parts.names
        self.architecture = parts.config["architecture"].text()
        self.digest = f"sha256:{hashlib.sha256(parts.raw_config).hexdigest()}"
        self._tree, self._reader = Tree(meter), Reader()
        self._contents: list[Contents] = []
        self._changes: list[Change] = []
        self.layers = tuple(self._read_layer(*each, meter) for each in self._numbered())
        self.history = history.steps(parts.config, self.layers)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        platform: str | None = None,
        limits: Limits | None = None,
    ) -> Image:
        """Read an image from an archive of Docker, Podman, kaniko or BuildKit, or an OCI folder.

        `name` tells which, if there are several; so does `platform` (`"linux/arm64"`), by default
        this machine's. The layers may be plain, or compressed with gzip or zstd, and so may be the
        archive. Raises one error for each thing that can be wrong; see the end of
        `labsupport.errors`.
        """
        limits = limits or Limits()
        return cls._of(open_store(Path(path), limits), limits, name, platform)

    @classmethod
    def of(cls, engine: Engine, name: str, *, limits: Limits | None = None) -> Image:
        """Read an image of an engine, as `docker save` streams it.

        `name` is a tag or an ID. The archive is in a file without a name for as long as the image
        is in use: `close()` removes it, and so does the end of this process. Raises `ImageMissing`,
        `ImageNotKept` if there is no room for it, and as `open` does.
        """
        from labsupport.engine.image import saved  # docker takes longer than to open an archive

        limits = limits or Limits()
        file = keep(saved.chunks(engine.client, name))
        return cls._of(Archive(file, limits), limits)

    @classmethod
    def _of(
        cls, store: Store, limits: Limits, name: str | None = None, platform: str | None = None
    ) -> Image:
        try:
            meter = Meter(limits)
            return cls(store, find_parts(store, meter, name, platform), meter)
        except BaseException:  # an interrupted cell, too
            store.close()
            raise

    @property
    def size_bytes(self) -> int:
        """The sizes of all regular files in all layers."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def wasted(self) -> tuple[tuple[str, int, int], ...]:
        """Paths that occur more than once: path, bytes in all, how often; the largest first."""
        return self._waste.wasted

    @property
    def wasted_bytes(self) -> int:
        """The bytes of all paths that occur more than once, as dive counts them."""
        return self._waste.wasted_bytes

    @property
    def efficiency(self) -> float:
        """The smallest size of each path, of the sizes in all layers; 1.0 is the best. As dive."""
        return self._waste.efficiency

    def tree(self) -> Mapping[str, Entry]:
        """Return what a container sees, by path; `entry.layer` tells where each is from."""
        return self._sorted_tree

    def lost_files(self) -> list[LostFile]:
        """Return the files that a layer deleted and an earlier one still holds."""
        return [
            LostFile(
                entry.path,
                entry.size_bytes,
                self.layers[entry.layer - 1],
                layer,
                partial(self._content, entry),
            )
            for layer, change in zip(self.layers, self._changes, strict=True)
            for _, entry in sorted({**change.deleted, **change.replaced}.items())
            if entry.kind == "file"
        ]

    def read(self, path: str, layer: int | Layer | None = None) -> bytes:
        """Return a file's content: what a container reads, or what one layer has.

        Links are followed, inside of the image. Raises `NoSuchFile`; `GiantFile` above
        `Limits.file_bytes`.
        """
        if layer is None:
            return self._content(find_file(self._tree.entries, path, "the image"))
        number = layer.number if isinstance(layer, Layer) else layer
        if not 1 <= number <= len(self.layers):
            raise NoSuchFile(path, f"layer {number}: there are layers 1 to {len(self.layers)}")
        return self._content(find_file(self.layers[number - 1].files, path, f"layer {number}"))

    def close(self) -> None:
        """Close the archive; a file of our own is gone then. All but `read` still works."""
        self._store.close()

    def __repr__(self) -> str:
        name = ", ".join(self.names) or self.digest[:19]
        return f"<Image {name}: {len(self.layers)} layers, {self.size_bytes / 1e6:.1f} MB>"

    @cached_property
    def _waste(self) -> Waste:
        entries = (layer.files.values() for layer in self.layers)
        return find_waste(zip(entries, self._changes, strict=True))

    @cached_property
    def _sorted_tree(self) -> Mapping[str, Entry]:
        return MappingProxyType(dict(sorted(self._tree.entries.items())))

    def _numbered(self) -> list[tuple[int, str, str]]:
        """Return each layer's number, diff id and line of history; raises `BadManifest`."""
        diff_ids = [each.text() for each in self._parts.config["rootfs"]["diff_ids"].items()]
        stored = len(self._parts.layers)
        if len(diff_ids) != stored or not all(map(is_digest, diff_ids)):
            raise BadManifest(
                "the configuration does not fit the layers",
                f"it names {len(diff_ids)} digests of layers, and there are {stored}",
            )
        made_by = history.made_by(self._parts.config, stored)
        return list(zip(range(1, stored + 1), diff_ids, made_by, strict=True))

    def _read_layer(self, number: int, diff_id: str, created_by: str, meter: Meter) -> Layer:
        blob, digest = self._parts.layers[number - 1]
        contents = read_layer(blob, digest, diff_id, number, meter)
        change = self._tree.put(contents, number)
        self._contents.append(contents)
        self._changes.append(change)
        return Layer(
            number,
            contents.digest,
            diff_id,
            sum(entry.size_bytes for entry in contents.files.values()),
            blob.size_bytes,
            created_by,
            MappingProxyType(contents.files),
            tuple(change.added),
            tuple(change.changed),
            tuple(sorted(change.deleted)),
            verified=True,
        )

    def _content(self, entry: Entry) -> bytes:
        at = entry.layer - 1
        contents = self._contents[at]
        if entry.kind == "hardlink":
            entry = hard_linked(contents.files, entry, f"layer {entry.layer}")
        if entry.size_bytes > self._limits.file_bytes:
            raise GiantFile(entry.path, entry.size_bytes, self._limits.file_bytes)
        return self._reader.read(self._parts.layers[at][0], entry, contents.pieces.get(entry.path))
