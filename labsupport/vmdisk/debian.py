"""From Debian's packages to a disk image with its kernel beside it, as any user."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from labsupport import building
from labsupport.errors import BuildToolMissing, DiskBuildFailed
from labsupport.vm.progress import Progress
from labsupport.vmdisk import recipe

TOOLS = ("mmdebstrap", "mke2fs", "qemu-img")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
# as of Debian 12: what apt says that it unpacks and sets up
_LINES = 270
_HOOKS = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
_COUNTED = re.compile(r"(Unpacking|Setting up) ")
_APT = "sudo apt-get install mmdebstrap debian-archive-keyring e2fsprogs qemu-utils uidmap"


def require_tools() -> None:
    """Raise `BuildToolMissing` unless all that makes a disk is installed."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
    if os.geteuid() != 0 and not shutil.which("newuidmap", path=PATH):
        missing.append("newuidmap (which lets an ordinary user own files as root inside)")
    if missing:
        raise BuildToolMissing(
            "a disk cannot be made here", f"not found: {', '.join(missing)}", _APT
        )


def make(folder: Path, mirror: str = "") -> tuple[Path, Path, Path]:
    """Make a Debian in the folder; return its disk (raw, sparse), kernel and first file system.

    Raises `DiskBuildFailed`.
    """
    disk, files = folder / "disk.raw", folder / "files.tar"
    recipe.write_files(files)
    descriptor = os.open(disk, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # root of the build's user namespace is not us, and opens this file as anybody may
        os.fchmod(descriptor, 0o666)
        os.ftruncate(descriptor, recipe.FILES_SYSTEM_BYTES)
        _run(_mmdebstrap(files, folder, descriptor, mirror), folder, descriptor)
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    boot = folder / "boot"
    return disk, next(boot.glob("vmlinuz-*")), next(boot.glob("initrd.img-*"))


def _mmdebstrap(files: Path, folder: Path, descriptor: int, mirror: str) -> list[str]:
    """Return the command; hooks are run by a shell, with the new root's folder as `$1`.

    The disk is filled while that folder is there: outside, its owners would be other numbers. What
    is mounted in it (/proc, /dev) is not seen through a bind mount.
    """
    disk = f"/proc/self/fd/{descriptor}"
    fill = f'mke2fs -q -F -t ext4 -E lazy_itable_init=0 -L lab -d "$1.bound" {disk}'
    bound = f'mkdir "$1.bound" && mount --bind "$1" "$1.bound" && {fill} && umount "$1.bound"'
    return [
        *("mmdebstrap", "--verbose", "--variant=apt", "--format=null"),
        f"--hook-dir={_HOOKS}",
        f"--include={','.join(recipe.PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.LEFT_OUT),
        f"--essential-hook=tar-in {shlex.quote(str(files))} /",
        f'--customize-hook=chroot "$1" sh -ec {shlex.quote(recipe.IN_THE_ROOT)}',
        f"--customize-hook=copy-out /boot {shlex.quote(str(folder))}",
        f'--customize-hook={bound}; status=$?; rmdir "$1.bound"; exit $status',
        *(recipe.SUITE, "/dev/null"),
        *([mirror] if mirror else []),
    ]


def _run(argv: Sequence[str], folder: Path, descriptor: int) -> None:
    # root of an ordinary user's build has no right to pass through that user's folders
    scratch = str(folder) if os.geteuid() == 0 else "/var/tmp"  # noqa: S108 (mmdebstrap makes a folder of its own there)
    environment = {**os.environ, "PATH": PATH, "TMPDIR": scratch}
    with Progress("making a Debian (mmdebstrap)", _LINES, things="steps") as progress:

        def heard(line: str) -> None:
            if _COUNTED.match(line):
                progress.step()

        status, log = building.run(
            [*building.own_mounts(), *argv], folder, environment, heard, pass_fds=[descriptor]
        )
    if status:
        raise DiskBuildFailed(
            f"mmdebstrap ended with status {status}",
            log,
            "connect to a network, and see the lines above",
        )
