"""The Lab VM's own kernel as a Python wheel, for students whose machine has no compiler.

`./lab vm kernel-wheel` makes it; pip installs it as the package `labsupport_kernel`, where
`labsupport.doctor.guest` finds it. Linux is GPL-2.0: the wheel has the licence's text and our
part of the source, and names the archive that has the rest.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from labsupport.doctor.guest import KERNEL_PACKAGE as NAME
from labsupport.doctor.guest import user_kernels
from labsupport.errors import LabError
from labsupport.making import building
from labsupport.making.kernel import FRAGMENT, SOURCES, build, find_source, read_member

ARCHIVE = "https://snapshot.debian.org/package"
_METADATA = """Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: The kernel of labsupport's Lab VM: {linux} as User-Mode Linux.
License-Expression: GPL-2.0-only WITH Linux-syscall-note
License-File: GPL-2.0
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: labsupport\nRoot-Is-Purelib: false\nTag: {tag}\n"
_SOURCE = """{linux} is free software, under the licence GPL-2.0 WITH Linux-syscall-note.

It was made of {archive} (SHA-256 {digest}){package}.
kernel.py beside this file says how its lines were changed and how it was built, kernel.config how
it was configured. With both in the course: ./lab vm build-kernel --source {archive}
"""


def main(argv: Sequence[str]) -> int:
    """`./lab vm kernel-wheel`: build the kernel, unless it is there, and pack it."""
    parser = argparse.ArgumentParser(
        prog="lab vm kernel-wheel",
        description="Pack the Lab VM's own kernel as a wheel for machines without a compiler, "
        "and build it first unless it is there. pip install it beside labsupport.",
    )
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder for it (dist)")
    parser.add_argument("--source", type=Path, help="archive of a kernel's source")
    chosen = parser.parse_args(argv)

    def work() -> bool:
        archive = chosen.source or find_source()
        return pack(build(user_kernels(), archive), archive, chosen.output).exists()

    return building.status_of(work)


def pack(kernel: Path, archive: Path, folder: Path) -> Path:
    """Write the wheel of a kernel that was built from an archive; return its path."""
    version, linux = metadata.version("labsupport"), f"Linux {kernel.name.split('-')[1]}"
    program, licence = kernel.read_bytes(), read_member(archive, "LICENSES/preferred/GPL-2.0")
    if not licence.stdout:
        raise LabError(f"{archive} has no licence's text", "without it, no kernel may be passed on")
    tag = f"py3-none-manylinux_2_{needed_glibc(program)}_x86_64"
    info = f"{NAME}-{version}.dist-info"
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {"linux": linux, "archive": archive.name, "digest": digest}
    files = {
        f"{NAME}/__init__.py": b"",
        f"{NAME}/SOURCE.txt": _SOURCE.format(**facts, package=_debians(archive)).encode(),
        f"{NAME}/kernel.py": Path(__file__).with_name("kernel.py").read_bytes(),
        f"{NAME}/kernel.config": FRAGMENT.read_bytes(),
        f"{NAME}/{kernel.name}": program,
        f"{info}/licenses/GPL-2.0": licence.stdout.encode(),
        f"{info}/METADATA": _METADATA.format(name=NAME, version=version, linux=linux).encode(),
        f"{info}/WHEEL": _WHEEL.format(tag=tag).encode(),
    }
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    wheel = folder / f"{NAME}-{version}-{tag}.whl"
    _write(wheel, files, f"{NAME}/{kernel.name}")
    print(f"packed: {wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")
    return wheel


def _write(wheel: Path, files: dict[str, bytes], program: str) -> None:
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, content in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = (0o100755 if path == program else 0o100644) << 16
            packed.writestr(member, content, zipfile.ZIP_DEFLATED)


def needed_glibc(program: bytes) -> int:
    """Return N where a program needs version 2.N of the GNU C library, or a later one."""
    return max(int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", program))


def _debians(archive: Path) -> str:
    """Name Debian's source package of an archive that a package has brought."""
    query = "--showformat=${source:Package}/${source:Version}"
    argv = ["dpkg-query", "--show", query, archive.name.partition(".tar")[0]]
    if SOURCES not in archive.parents:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f",\nof Debian's source package {ARCHIVE}/{done.stdout}/" if done.stdout else ""


def _record(files: dict[str, bytes], own: str) -> bytes:
    """List the files with their hashes; PEP 376 and 427."""
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{own},,", ""]).encode()
