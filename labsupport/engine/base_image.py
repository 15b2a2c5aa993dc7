"""The image that every experiment starts from: one static busybox, made here, without a network.

It is what `FROM scratch; ADD rootfs.tar /; ENV PATH=…; CMD ["sh"]` would make. But a builder takes
five seconds for that in the Lab VM, and loading a finished archive one; and so the image has the
same digest wherever the same busybox is.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import ImageNotFound

from labsupport.engine.labels import COURSE, OWNER
from labsupport.errors import BaseFilesMissing

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

TAG = "labsupport/busybox:latest"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREATED = "1970-01-01T00:00:00Z"
_FILES = {
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
}
_FOLDERS = {"etc": 0o755, "root": 0o700, "tmp": 0o1777, "usr/local/bin": 0o755, "var": 0o755}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# elf(5): where the program headers are, the size of one, how many; and the loader's kind
_E_PHOFF, _E_PHENTSIZE, _E_PHNUM = slice(32, 40), slice(54, 56), slice(56, 58)
_PT_INTERP = 3


def base_image(client: DockerClient) -> Image:
    """Return the course's base image, made of this machine's busybox unless it is there.

    Raises `BaseFilesMissing` if there is no statically linked busybox.
    """
    layer = busybox_layer()
    config = _config(hashlib.sha256(layer).hexdigest())
    try:
        image = client.images.get(TAG)
    except ImageNotFound:
        pass
    else:
        if image.attrs["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]:
            return image
    client.images.load(archive(TAG, config, [layer]))
    return client.images.get(TAG)


def busybox_layer() -> bytes:
    """Return the image's only layer; raises `BaseFilesMissing`."""
    return rootfs(_busybox())


def rootfs(busybox: Path) -> bytes:
    """Pack the image's only layer: busybox, a link for each of its programs, a few files."""
    argv = [str(busybox), "--list-full"]
    names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    parents = {str(parent) for name in names for parent in Path(name).parents} - {"."}
    members = {name: a_folder(0o755) for name in parents}
    members |= {name: a_folder(mode) for name, mode in _FOLDERS.items()}
    members |= {name: a_link(os.path.relpath("bin/busybox", Path(name).parent)) for name in names}
    members |= {name: a_file(text.encode()) for name, text in _FILES.items()}
    members["bin/busybox"] = a_file(busybox.read_bytes(), 0o755)
    return pack(members)


def _config(diff_id: str) -> dict[str, Any]:
    """The image's configuration, as the OCI image specification has it."""
    return {
        "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": CREATED,
        "config": {"Env": [f"PATH={PATH}"], "Cmd": ["sh"], "Labels": {OWNER: COURSE}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [
            {"created": CREATED, "created_by": "ADD rootfs.tar / # the course's busybox"},
            {"created": CREATED, "created_by": f"ENV PATH={PATH}", "empty_layer": True},
            {"created": CREATED, "created_by": 'CMD ["sh"]', "empty_layer": True},
        ],
    }


def archive(tag: str, config: dict[str, Any], layers: Sequence[bytes]) -> bytes:
    """Pack an image as `docker save` would; `layers` are tar archives, the lowest first."""
    files = {f"layer{number}.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": list(files)}]
    files["config.json"] = json.dumps(config).encode()
    files["manifest.json"] = json.dumps(manifest).encode()
    return pack({name: a_file(content) for name, content in files.items()})


def pack(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Pack members by name; without times and owners, so the bytes are the same each time."""
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, (member, content) in sorted(members.items()):
                member.name = name
                tar.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def a_file(content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """Return a file for `pack`."""
    member = tarfile.TarInfo()
    member.size, member.mode = len(content), mode
    return member, content


def a_folder(mode: int) -> tuple[tarfile.TarInfo, bytes]:
    """Return a folder for `pack`."""
    member = tarfile.TarInfo()
    member.type, member.mode = tarfile.DIRTYPE, mode
    return member, b""


def a_link(target: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a symbolic link for `pack`."""
    member = tarfile.TarInfo()
    member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
    return member, b""


def _busybox() -> Path:
    found = shutil.which("busybox")
    if not found or not _is_static(Path(found)):
        raise BaseFilesMissing(
            "the base image cannot be made",
            f"{found} needs shared libraries" if found else "no program `busybox` was found",
            "sudo apt-get install busybox-static",
        )
    return Path(found).resolve()


def _is_static(program: Path) -> bool:
    """Whether a 64-bit ELF program names no interpreter, which is the dynamic loader."""
    content = program.read_bytes()
    if content[:5] != b"\x7fELF\x02":
        return False
    at, size, count = (
        int.from_bytes(content[field], "little") for field in (_E_PHOFF, _E_PHENTSIZE, _E_PHNUM)
    )
    kinds = (content[start : start + 4] for start in range(at, at + size * count, size))
    return all(int.from_bytes(kind, "little") != _PT_INTERP for kind in kinds)
