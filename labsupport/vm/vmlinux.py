"""The kernel inside a distribution's bzImage, unpacked: it starts without a BIOS.

QEMU starts an ELF kernel that has the note of the PVH boot protocol at once. The BIOS and the
kernel's own unpacking, simulated, take three seconds.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import platformdirs

_ELF = b"\x7fELF"
_XZ, _ZSTD, _GZIP = b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"
# an ELF note of the name "Xen" and the type 18: XEN_ELFNOTE_PHYS32_ENTRY
_PVH_NOTE = re.compile(rb"\x04\0\0\0[\x04\x08]\0\0\0\x12\0\0\0Xen\0")


def unpacked(kernel: Path) -> Path:
    """Return an unpacked copy of a bzImage, or the bzImage if it cannot be started unpacked.

    Copies are kept in the user's cache folder (60 MB each), the newest only.
    """
    folder = Path(platformdirs.user_cache_dir("labsupport")) / "vmlinux"
    state = kernel.stat()
    identity = f"{kernel.resolve()} {state.st_size} {state.st_mtime_ns}"
    copy = folder / f"{kernel.name}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
    if copy.exists():
        return copy
    content = _unpack(kernel.read_bytes())
    if not content.startswith(_ELF) or not _PVH_NOTE.search(content):
        return kernel
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(content)
    Path(file.name).rename(copy)
    return copy


def _unpack(image: bytes) -> bytes:
    """Find the compressed kernel in an image; b"" if there is none that we can read."""
    for magic, unpack in ((_XZ, _unxz), (_ZSTD, _unzstd), (_GZIP, _gunzip)):
        for match in re.finditer(re.escape(magic), image):
            content = unpack(image[match.start() :])
            if content.startswith(_ELF):
                return content
    return b""


def _unxz(packed: bytes) -> bytes:
    try:
        return lzma.LZMADecompressor().decompress(packed)
    except lzma.LZMAError:
        return b""


def _gunzip(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(packed)
    except zlib.error:
        return b""


def _unzstd(packed: bytes) -> bytes:
    """Unpack by zstd(1): it complains about what follows the kernel, and writes it all the same."""
    if not shutil.which("zstd"):
        return b""
    argv = ["zstd", "--decompress", "--stdout", "--quiet"]
    return subprocess.run(argv, input=packed, capture_output=True, check=False).stdout
