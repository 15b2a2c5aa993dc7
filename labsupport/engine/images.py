"""An image, read: its configuration, history and layers, and what they waste or give away."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Self

from labsupport.engine.image.entries import Entry, Layer, LostFile, Step
from labsupport.engine.image.layer_reading import Contents, read_layer
from labsupport.engine.image.tree import Change, stack

if TYPE_CHECKING:
    from labsupport.engine.client import Engine


class Image:
    """An image out of an archive, a folder or an engine.

    `layers` from the lowest up, `history` as its builder wrote it, `config` the image's JSON,
    `names` its tags, `digest` that of the configuration, which is the image's ID.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._outer = tarfile.open(fileobj=file)
        (manifest,) = json.loads(self._blob("manifest.json").read())
        raw = self._blob(manifest["Config"]).read()
        self.config: dict[str, Any] = json.loads(raw)
        self.digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        self.names: tuple[str, ...] = tuple(manifest.get("RepoTags") or ())
        self.architecture: str = self.config.get("architecture", "")
        self._blobs: list[str] = manifest["Layers"]
        self._contents: list[Contents] = []
        self._changes: list[Change] = []
        self._tree: dict[str, Entry] = {}
        self.layers = self._read_layers()
        self.history = self._read_history()

    @classmethod
    def open(cls, path: str | Path) -> Image:
        """Read an image from an archive or an OCI folder."""
        return cls(Path(path).open("rb"))

    @classmethod
    def of(cls, engine: Engine, name: str) -> Image:
        """Read an image of an engine, out of `docker save`."""
        image = engine.client.images.get(name)
        file = tempfile.TemporaryFile()
        for chunk in image.save(named=name if name in image.tags else False):
            file.write(chunk)
        file.seek(0)
        return cls(file)

    @property
    def size_bytes(self) -> int:
        """The sizes of all regular files in all layers."""
        return sum(layer.size_bytes for layer in self.layers)

    @cached_property
    def wasted(self) -> tuple[tuple[str, int, int], ...]:
        """Paths that occur in several layers: path, bytes, times; the largest first."""
        rows = ((p, sum(s), len(s)) for p, s in self._sizes.items() if len(s) > 1)
        return tuple(sorted(rows, key=lambda row: (-row[1], row[0])))

    @property
    def wasted_bytes(self) -> int:
        """The bytes of all paths that occur in several layers, as dive counts them."""
        return sum(size for _, size, _ in self.wasted)

    @property
    def efficiency(self) -> float:
        """Each path's smallest size, of all sizes; 1.0 is the best. As dive counts it."""
        total = sum(map(sum, self._sizes.values()))
        return sum(map(min, self._sizes.values())) / total if total else 1.0

    def tree(self) -> Mapping[str, Entry]:
        """Return what a container sees: path → entry, with the number of the layer it is from."""
        return dict(sorted(self._tree.items()))

    def lost_files(self) -> list[LostFile]:
        """Return the files that a layer deleted and an earlier one still holds."""
        return [
            LostFile(
                path,
                entry.size_bytes,
                self.layers[entry.layer - 1],
                layer,
                lambda entry=entry: self._content(entry),  # type: ignore[misc]
            )
            for layer, change in zip(self.layers, self._changes, strict=True)
            for path, entry in sorted(change.hidden.items())
            if entry.kind == "file"
        ]

    def read(self, path: str, layer: int | Layer | None = None) -> bytes:
        """Return a file's content: as a container sees it, or out of one layer."""
        path = "/" + path.strip("/")
        if layer is None:
            return self._content(self._tree[path])
        number = layer.number if isinstance(layer, Layer) else layer
        return self._content(self.layers[number - 1].files[path])

    def close(self) -> None:
        """Close the archive; a temporary one is gone then."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<Image {', '.join(self.names) or self.digest[:19]}: "
            f"{len(self.layers)} layers, {self.size_bytes / 1e6:.1f} MB>"
        )

    @cached_property
    def _sizes(self) -> dict[str, list[int]]:
        sizes: dict[str, list[int]] = {}
        for layer, change in zip(self.layers, self._changes, strict=True):
            for path, entry in layer.files.items():
                if entry.kind != "folder":
                    sizes.setdefault(path, []).append(entry.size_bytes)
            for path, entry in change.hidden.items():
                if entry.kind != "folder":
                    sizes.setdefault(path, []).append(0)
        return sizes

    def _blob(self, name: str) -> BinaryIO:
        found = self._outer.extractfile(name)
        assert found is not None  # noqa: S101
        return found  # type: ignore[return-value]

    def _content(self, entry: Entry) -> bytes:
        with tarfile.open(fileobj=self._blob(self._blobs[entry.layer - 1])) as tar:
            for member in tar:
                if member.offset == entry.offset:
                    found = tar.extractfile(member)
                    return found.read() if found else b""
        raise KeyError(entry.path)

    def _read_layers(self) -> tuple[Layer, ...]:
        made = [step for step in self.config.get("history", []) if not step.get("empty_layer")]
        layers = []
        for at, (name, diff_id) in enumerate(
            zip(self._blobs, self.config["rootfs"]["diff_ids"], strict=True)
        ):
            contents = read_layer(self._blob(name), at + 1)
            change = stack(self._tree, contents)
            self._contents.append(contents)
            self._changes.append(change)
            layers.append(
                Layer(
                    at + 1,
                    contents.diff_id,
                    diff_id,
                    sum(entry.size_bytes for entry in contents.files.values()),
                    self._outer.getmember(name).size,
                    made[at]["created_by"] if at < len(made) else "",
                    contents.files,
                    change.added,
                    change.changed,
                    change.deleted,
                    contents.diff_id == diff_id,
                )
            )
        return tuple(layers)

    def _read_history(self) -> tuple[Step, ...]:
        layers = iter(self.layers)
        return tuple(
            Step(
                datetime.fromisoformat(step["created"][:19] + "+00:00")
                if "created" in step
                else None,
                step.get("created_by", ""),
                step.get("comment", ""),
                bool(step.get("empty_layer")),
                None if step.get("empty_layer") else next(layers, None),
            )
            for step in self.config.get("history", [])
        )
