"""A small Debian as a tar: made by mmdebstrap, as any user, or else by debootstrap, as root."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from labsupport import building
from labsupport.base import recipe, zip_pip
from labsupport.engine.app_base import SYSTEM_BASES
from labsupport.errors import BaseBuildFailed, BuildToolMissing
from labsupport.vm.progress import Progress

# as of Debian 12: what apt says that it unpacks and sets up
_LINES = 190
_TMP = "/tmp"  # noqa: S108 (the new root's)
_PIP = "/usr/local/bin/pip"
_HOOKS = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
_COUNTED = re.compile(r"(Unpacking|Setting up) ")
_APT = "sudo apt-get install mmdebstrap debian-archive-keyring"
_AS_ROOT = f"or, as root, for all users of this machine: ./lab base --output {SYSTEM_BASES}"
_REMEDIES = {
    "unable to pick chroot mode": f"sudo apt-get install uidmap; {_AS_ROOT}",
    "Permission denied": f"TMPDIR=/tmp ./lab base; {_AS_ROOT}",
    "No space left on device": "name a folder with space: TMPDIR=FOLDER ./lab base",
    "Failed to fetch": "is there a network? Name a mirror that is reached: ./lab base --mirror URL",
}
_LAST_RESORT = f"see what `mmdebstrap --verbose {recipe.SUITE} /dev/null` says; {_AS_ROOT}"
# mtimes are 0 in the layer: Python must check its compiled modules by their content
_REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "0"}


def make(rootfs: Path, wheels: Path, pip: Path, mirror: str = "") -> None:
    """Write the root file system `rootfs`, a tar, with the folder of wheels and pip in it.

    Raises `BuildToolMissing` or `BaseBuildFailed`.
    """
    if find_tool() == "mmdebstrap":
        _run(_mmdebstrap(rootfs, wheels, pip, mirror), rootfs.parent)
    else:
        _debootstrap(rootfs, wheels, pip, mirror)


def find_tool() -> str:
    """Return the program that makes a Debian here. Raises `BuildToolMissing`."""
    if shutil.which("mmdebstrap"):
        return "mmdebstrap"
    if not shutil.which("debootstrap"):
        why = "mmdebstrap is not installed"
    elif os.geteuid() != 0:
        why = "debootstrap is here, but takes root, and mmdebstrap is not installed"
    else:
        return "debootstrap"
    raise BuildToolMissing("a Debian cannot be made here", why, _APT)


def _mmdebstrap(rootfs: Path, wheels: Path, pip: Path, mirror: str) -> list[str]:
    """Return the command; hooks are run by a shell, with the new root's folder as `$1`.

    A merged /usr from the beginning spares Debian 12 the package usrmerge, and with it 48 MB of
    Perl.
    """
    folder = f"/{Path(recipe.WHEELS_FOLDER).parent}"
    return [
        *("mmdebstrap", "--verbose", "--variant=essential", "--format=tar"),
        f"--hook-dir={_HOOKS}",
        f"--include={','.join(recipe.PACKAGES)}",
        f"--customize-hook=copy-in {shlex.quote(str(wheels))} {folder}",
        f"--customize-hook=copy-in {shlex.quote(str(pip))} {shlex.quote(zip_pip.__file__)} {_TMP}",
        f'--customize-hook=chroot "$1" {shlex.join(_install_pip(pip))}',
        *(recipe.SUITE, str(rootfs)),
        *([mirror] if mirror else []),
    ]


def _debootstrap(rootfs: Path, wheels: Path, pip: Path, mirror: str) -> None:
    """Do the same in steps; the result is larger: it has apt and what else is "required"."""
    root = rootfs.parent / "root"
    include = ",".join(recipe.PACKAGES)
    argv = ["debootstrap", "--variant=minbase", f"--include={include}", recipe.SUITE, str(root)]
    _run([*argv, *([mirror] if mirror else [])], rootfs.parent)
    shutil.copytree(wheels, root / recipe.WHEELS_FOLDER, dirs_exist_ok=True)
    for file in (pip, Path(zip_pip.__file__)):
        shutil.copy(file, root / _TMP[1:])
    _run(["chroot", str(root), *_install_pip(pip)], rootfs.parent)
    argv = ["tar", "--create", f"--file={rootfs}", f"--directory={root}", "--sort=name"]
    _run([*argv, "--numeric-owner", "--one-file-system", "."], rootfs.parent)


def _install_pip(pip: Path) -> list[str]:
    """Return what makes the program pip of its wheel, in the new root."""
    settings = [f"PATH={recipe.PATH}", *(f"{key}={text}" for key, text in _REPRODUCIBLE.items())]
    copies = [f"{_TMP}/{Path(zip_pip.__file__).name}", f"{_TMP}/{pip.name}"]
    return ["env", "-i", *settings, "python3", *copies, _PIP]


def _run(argv: Sequence[str], folder: Path) -> None:
    what = f"making a Debian ({Path(argv[0]).name})"
    environment = {**os.environ, **_REPRODUCIBLE, "TMPDIR": str(_open_folder(folder))}
    with Progress(what, _LINES, things="steps") as progress:

        def heard(line: str) -> None:
            if _COUNTED.match(line):
                progress.step()

        status, log = building.run([*building.own_mounts(), *argv], folder, environment, heard)
    if status:
        raise BaseBuildFailed(f"{Path(argv[0]).name} ended with status {status}", log, _remedy(log))


def _open_folder(scratch: Path) -> Path:
    """Make a folder in which users of a new user namespace may write, whom the kernel calls others.

    See "unshare" in mmdebstrap(1). They must pass through the folders above, too: where they
    cannot, the folder that is everybody's serves.
    """
    scratch.chmod(0o711)
    folder = scratch / "temporary"
    if os.geteuid() != 0 and not all(each.stat().st_mode & 0o001 for each in folder.parents):
        return Path("/var/tmp")  # noqa: S108
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    return folder


def _remedy(log: str) -> str:
    """Find what to do about the causes that are known."""
    return next((remedy for words, remedy in _REMEDIES.items() if words in log), _LAST_RESORT)
