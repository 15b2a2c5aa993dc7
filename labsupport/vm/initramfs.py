"""The first file system of a QEMU guest: modules that reach the host's files, and a script.

A distribution's kernel has its drivers for virtual devices in modules, which lie on the file system
that they are needed for. So they come along in an archive: newc format, see the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import platformdirs

from labsupport.errors import GuestKernelMissing

# what the guest needs to see its root and its line; all else it loads from there
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "virtio_console")
PROBED = "the probe has booted"
_SCRIPT = f"""\
#!/bin/busybox sh
set -e
bb=/bin/busybox
$bb mount -t devtmpfs devtmpfs /dev
if [ "$LAB_PROBE" ]; then
    echo "{PROBED}" > /dev/console
    $bb poweroff -f
fi
for module in /modules/*; do $bb insmod $module; done
$bb mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose root /host
$bb mount -o move /dev /host/dev
exec $bb switch_root /host "$LAB_PYTHON" -I -S "$LAB_LEAN" labsupport.vm.inside.init
"""
_UNPACK = {".gz": gzip.decompress, ".xz": lzma.decompress}


def prepare(release: str, modules: Path) -> Path:
    """Return the archive for a kernel of that `release`, with modules of the folder `modules`.

    It is kept in the user's cache folder, a few MB, and made anew when its contents change.
    Raises `GuestKernelMissing` if the kernel has no 9p, or there is no busybox.
    """
    files = {
        "init": _SCRIPT.encode(),
        "bin/busybox": _busybox().read_bytes(),
        **{f"modules/{n:02}.ko": _read(file) for n, file in enumerate(_needed(modules))},
    }
    archive = _newc(files)
    digest = hashlib.sha256(archive).hexdigest()[:10]
    path = Path(platformdirs.user_cache_dir("labsupport")) / "initramfs" / f"{release}-{digest}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(archive)
        Path(file.name).rename(path)
    return path


def can_share(modules: Path) -> bool:
    """Whether the kernel with these modules can mount the host's files (9p over virtio)."""
    names = {name for name, _ in _dependencies(modules)} | _built_in(modules)
    return names.issuperset(MODULES)


def _needed(modules: Path) -> list[Path]:
    """List module files in the order to load them in: what others need goes first."""
    needs = dict(_dependencies(modules))
    wanted = [file for name in MODULES for file in needs.get(name, [])]
    return [modules / file for file in dict.fromkeys(wanted)]


def _dependencies(modules: Path) -> Iterator[tuple[str, list[str]]]:
    """Read modules.dep(5): a module's name, and its files, in the order to load them in."""
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        yield _name(file), [*reversed(others.split()), file]


def _built_in(modules: Path) -> set[str]:
    return {_name(line) for line in (modules / "modules.builtin").read_text().splitlines()}


def _name(file: str) -> str:
    return file.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _read(module: Path) -> bytes:
    """Read a module, unpacked if it is compressed."""
    if module.suffix == ".zst":
        argv = ["zstd", "--decompress", "--stdout", str(module)]
        return subprocess.run(argv, capture_output=True, check=True).stdout
    return _UNPACK.get(module.suffix, bytes)(module.read_bytes())


def _busybox() -> Path:
    found = shutil.which("busybox")
    if not found:
        raise GuestKernelMissing(
            "the Lab VM cannot start in QEMU",
            "its first program, busybox, is not installed",
            "sudo apt-get install busybox-static",
        )
    return Path(found)


def _newc(files: Mapping[str, bytes]) -> bytes:
    """Pack files, all executable, and the folders that they need."""
    folders = {"dev", "host", *(os.path.dirname(name) for name in files)} - {""}
    members = [(name, 0o040755, b"") for name in sorted(folders)]
    members += [(name, 0o100755, content) for name, content in sorted(files.items())]
    packed = bytearray()
    for number, (name, mode, content) in enumerate([*members, ("TRAILER!!!", 0, b"")], 1):
        size, name_size = len(content), len(name) + 1
        fields = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0)
        packed += b"070701" + b"".join(b"%08x" % field for field in fields)
        packed += name.encode() + b"\0"
        packed += bytes(-len(packed) % 4)
        packed += content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)
