"""Pack a build's context, as `docker build` does before anything else."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from docker.utils.build import exclude_paths

from labsupport.engine.build.marking import marked
from labsupport.errors import DockerfileMissing

Files = Mapping[str, str | bytes]


def pack(context: str | Path | Files, dockerfile: str, labels: Mapping[str, str]) -> IO[bytes]:
    """Pack a folder, but for what its `.dockerignore` names, or a mapping of names to contents.

    The Dockerfile in it is marked with labels, if there are any.
    """
    packed = tempfile.TemporaryFile()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        if isinstance(context, Mapping):
            _pack_files(tar, context, dockerfile, labels)
        else:
            _pack_folder(tar, Path(context), dockerfile, labels)
    packed.seek(0)
    return packed


def _pack_files(
    tar: tarfile.TarFile, files: Files, dockerfile: str, labels: Mapping[str, str]
) -> None:
    if dockerfile not in files:
        raise DockerfileMissing(dockerfile, "the mapping", files)
    for name, content in files.items():
        text = content.encode() if isinstance(content, str) else content
        _add(tar, name, _marked(text, labels) if name == dockerfile else text)


def _pack_folder(
    tar: tarfile.TarFile, folder: Path, dockerfile: str, labels: Mapping[str, str]
) -> None:
    if not (folder / dockerfile).is_file():
        there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        raise DockerfileMissing(dockerfile, str(folder), there)
    ignore = folder / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.exists() else []
    patterns = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    for name in sorted(exclude_paths(str(folder), patterns, dockerfile)):
        if name == dockerfile:
            _add(tar, name, _marked((folder / name).read_bytes(), labels))
        else:
            tar.add(folder / name, name, recursive=False)


def _marked(dockerfile: bytes, labels: Mapping[str, str]) -> bytes:
    return marked(dockerfile.decode(), labels).encode() if labels else dockerfile


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))
