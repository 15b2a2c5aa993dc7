"""From a root file system to an image archive, the same bytes whenever the files are the same."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import IO

from labsupport.base import recipe
from labsupport.engine.app_base import RECIPE, TAG
from labsupport.engine.labels import COURSE, OWNER

_CREATED = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_layer(rootfs: Path, layer: Path) -> str:
    """Copy a root file system (tar) without what is left out; return the layer's diff ID."""
    with tarfile.open(rootfs) as read, tarfile.open(layer, "w") as written:
        for member in read:
            member.name = member.name.removeprefix("./")
            if member.name in ("", ".") or recipe.is_left_out(member.name):
                continue
            content = _content(read, member)
            member.mtime, member.pax_headers = 0, {}
            member.uname = member.gname = ""
            if member.name.startswith(recipe.WHEELS_FOLDER):  # copied in: they are whoever's
                member.uid = member.gid = 0
                member.mode = 0o755 if member.isdir() else 0o644
            written.addfile(member, content)
        for name, text in recipe.SETTINGS.items():
            _add(written, name, text.encode())
    with layer.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _content(rootfs: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    """Return a file's content; the second name of a file that is left out becomes the first."""
    if member.islnk():
        member.linkname = member.linkname.removeprefix("./")
        first = rootfs.getmember(member.linkname)  # it came before, and was renamed likewise
        if not recipe.is_left_out(member.linkname):
            return None
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", first.size
        return rootfs.extractfile(first)
    return rootfs.extractfile(member) if member.isreg() else None


def write_archive(layer: Path, diff_id: str, archive: Path) -> None:
    """Write what `docker save` would, the image's configuration first."""
    manifest = [{"Config": "config.json", "RepoTags": [TAG], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for name, content in {"config.json": _config(diff_id), "manifest.json": manifest}.items():
            _add(tar, name, json.dumps(content).encode())
        member = tarfile.TarInfo("layer.tar")
        member.size = layer.stat().st_size
        with layer.open("rb") as file:
            tar.addfile(member, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _config(diff_id: str) -> dict[str, object]:
    """Return the image's configuration, as the OCI image specification has it."""
    packages = ", ".join(recipe.PACKAGES)
    return {
        "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": _CREATED,
        "config": {
            "Env": list(recipe.ENVIRONMENT),
            "Cmd": ["python3"],
            "Labels": {OWNER: COURSE, RECIPE: recipe.recipe_hash()},
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [
            {
                "created": _CREATED,
                "created_by": f"./lab base # Debian {recipe.SUITE}: {packages}; pip and wheels",
            },
            {"created": _CREATED, "created_by": 'CMD ["python3"]', "empty_layer": True},
        ],
    }
