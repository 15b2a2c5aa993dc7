"""The image that every experiment starts from: one static busybox, `FROM scratch`, no network.

Its files come from this machine, so it is there in a minute's lecture without a registry.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import ImageNotFound

from labsupport.engine.labels import CONTENT, owner_labels
from labsupport.errors import BaseFilesMissing

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

TAG = "labsupport/busybox:latest"
DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sh"]
"""
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_FOLDERS = {"tmp": 0o1777, "root": 0o700, "usr/local/bin": 0o755, "var": 0o755}
_PT_INTERP = 3


def base_image(client: DockerClient) -> Image:
    """Return the course's base image, built from this machine's busybox unless it is there."""
    context = _context(_busybox())
    digest = hashlib.sha256(context).hexdigest()
    try:
        image = client.images.get(TAG)
    except ImageNotFound:
        pass
    else:
        if image.labels.get(CONTENT) == digest:
            return image
    image, _log = client.images.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        tag=TAG,
        labels={**owner_labels(), CONTENT: digest},
        network_mode="none",
        rm=True,
        forcerm=True,
    )
    return image


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
    """Whether a 64-bit ELF program names no interpreter, the dynamic loader; elf(5)."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:5] != b"\x7fELF\x02":
            return False
        at, size, count = (int.from_bytes(head[a:b], "little") for a, b in _PROGRAM_HEADERS)
        file.seek(at)
        headers = file.read(size * count)
    kinds = (headers[start : start + 4] for start in range(0, len(headers), size))
    return all(int.from_bytes(kind, "little") != _PT_INTERP for kind in kinds)


_PROGRAM_HEADERS = ((32, 40), (54, 56), (56, 58))  # e_phoff, e_phentsize, e_phnum


def _context(busybox: Path) -> bytes:
    """Pack what the builder needs: the same bytes each time, so that its cache knows them."""
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            _add(tar, "Dockerfile", DOCKERFILE.encode())
            _add(tar, "rootfs.tar", _rootfs(busybox))
        return packed.getvalue()


def _rootfs(busybox: Path) -> bytes:
    argv = [str(busybox), "--list-full"]
    names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            folders = {parent for name in names for parent in Path(name).parents} | {Path("etc")}
            for folder in sorted(folders - {Path()}):
                _add_folder(tar, str(folder), 0o755)
            for name, mode in _FOLDERS.items():
                _add_folder(tar, name, mode)
            _add(tar, "bin/busybox", busybox.read_bytes(), 0o755)
            for name in sorted(set(names) - {"bin/busybox"}):
                _add_link(tar, name)
            for name, text in _FILES.items():
                _add(tar, name, text.encode())
        return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def _add_folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _add_link(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = os.path.relpath("bin/busybox", Path(name).parent)
    tar.addfile(member)
