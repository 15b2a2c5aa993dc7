"""`./lab base`: make the base image of the tutorials' app once, and keep it as an archive."""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from labsupport.build import bases
from labsupport.engine.listing import COURSE, IMAGE_OWNER
from labsupport.errors import AppBaseMissing, LabError
from labsupport.making import building, zip_pip
from labsupport.making.building import Progress

# The base of the tutorials' app: a small Debian, Python with pip, Apertium. It stands in for
# `python:3.12-slim-bookworm` where nothing can be pulled. It holds wheels of the app's
# dependencies and of Pipenv, and its pip looks nowhere else: `RUN pip install -r requirements.txt`
# works without a network.

TAG = bases.APP_BASE_TAG
SUITE = "bookworm"
PACKAGES = ("python3", "apertium", "apertium-eng-spa")
PIP = "pip==26.3"
WHEELS = tuple(f"{name}=={version}" for name, version in bases.APP_WHEELS.items())
WHEELS_FOLDER = "usr/share/python-wheels"
ENVIRONMENT = (f"PATH={bases.PATH}", "LANG=C.UTF-8")
SETTINGS = {
    "etc/pip.conf": f"""\
# No network is needed, nor used: what the course installs lies in this folder.
[global]
no-index = true
find-links = /{WHEELS_FOLDER}
disable-pip-version-check = true
# in an image there is nobody but root, and one Python
root-user-action = ignore
break-system-packages = true
"""
}
_LEFT_OUT = re.compile(
    # documentation except licences, translations, character sets other than UTF-8
    r"(?!usr/share/doc/[^/]+(/copyright)?$)"
    r"(usr/share/(doc|doc-base|man|info|lintian|locale|bash-completion)/.+|.+/gconv/.+"
    # nothing more will be installed by Debian's tools, so Perl and the like are not needed here;
    # the list of what is installed stays
    r"|usr/(lib/[^/]+/perl-base|share/perl5|share/debconf)/.+|usr/bin/(perl|dpkg|debconf).*"
    r"|var/lib/dpkg/(info/.+|.+-old)"
    # parts of Python that only developers of Python use
    r"|usr/lib/python3[^/]*/(test|pydoc_data|lib2to3)/.+"
    # caches, logs, and what differs between machines
    r"|var/(cache|log|lib/apt)/.+|root/.+|tmp/.+|dev/.+"
    r"|etc/(resolv\.conf|hostname|machine-id)|var/lib/dbus/machine-id|etc/.+-)"
)


def is_left_out(name: str) -> bool:
    """Whether a path, without a slash at its beginning, has no place in the image."""
    return _LEFT_OUT.fullmatch(name) is not None


def recipe_hash() -> str:
    """Return ten characters that change with the recipe."""
    parts = [3, SUITE, PACKAGES, PIP, WHEELS, ENVIRONMENT, SETTINGS, _LEFT_OUT.pattern]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


# From a root file system to an image archive, the same bytes whenever the files are the same.


def write_layer(rootfs: Path, layer: Path) -> str:
    """Copy a root file system (tar) without what is left out; return the layer's diff ID."""
    with tarfile.open(rootfs) as read, tarfile.open(layer, "w") as written:
        for member in read:
            member.name = member.name.removeprefix("./")
            if member.name in ("", ".") or is_left_out(member.name):
                continue
            content = _content(read, member)
            member.mtime, member.pax_headers = 0, {}
            member.uname = member.gname = ""
            if member.name.startswith(WHEELS_FOLDER):  # copied in: their owner is arbitrary
                member.uid = member.gid = 0
                member.mode = 0o755 if member.isdir() else 0o644
            written.addfile(member, content)
        for name, text in SETTINGS.items():
            _add(written, name, text.encode())
    with layer.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _content(rootfs: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    """Return a file's content; the second name of a file that is left out becomes the first."""
    if member.islnk():
        member.linkname = member.linkname.removeprefix("./")
        first = rootfs.getmember(member.linkname)  # it came before, and was renamed likewise
        if not is_left_out(member.linkname):
            return None
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", first.size
        return rootfs.extractfile(first)
    return rootfs.extractfile(member) if member.isreg() else None


def write_archive(layer: Path, diff_id: str, archive: Path) -> None:
    """Write what `docker save` would, the image's configuration first."""
    made_by = f"./lab base # Debian {SUITE}: {', '.join(PACKAGES)}; pip and wheels"
    labels = {IMAGE_OWNER: COURSE, bases.RECIPE: recipe_hash()}
    config = {"Env": list(ENVIRONMENT), "Cmd": ["python3"], "Labels": labels}
    said = bases.configuration([diff_id], [made_by, 'CMD ["python3"]'], config)
    manifest = [{"Config": "config.json", "RepoTags": [TAG], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, "config.json", json.dumps(said).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        member = tarfile.TarInfo("layer.tar")
        member.size = layer.stat().st_size
        with layer.open("rb") as file:
            tar.addfile(member, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


_STEPS = 190  # as of Debian 12
_TMP = "/tmp"  # noqa: S108 (the new root's)
_PIP = "/usr/local/bin/pip"
_APT = "sudo apt-get install mmdebstrap debian-archive-keyring"
_AS_ROOT = f"or, as root, for all users of this machine: ./lab base --output {bases.SYSTEM_BASES}"
_REMEDIES = {
    "unable to pick chroot mode": f"sudo apt-get install uidmap; {_AS_ROOT}",
    "Permission denied": f"TMPDIR=/tmp ./lab base; {_AS_ROOT}",
    "No space left on device": "name a folder with space: TMPDIR=FOLDER ./lab base",
    "Failed to fetch": "is there a network? Name a mirror that is reached: ./lab base --mirror URL",
}
_LAST_RESORT = f"see what `mmdebstrap --verbose {SUITE} /dev/null` says; {_AS_ROOT}"
# mtimes are 0 in the layer: Python must check its compiled modules by their content
_REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "0"}


def make(rootfs: Path, wheels: Path, pip: Path, mirror: str = "") -> None:
    """Write the root file system `rootfs`, a tar, with the folder of wheels and pip in it.

    Raises `LabError`.
    """
    folder = rootfs.parent
    environment = {**os.environ, **_REPRODUCIBLE, "TMPDIR": str(_open_folder(folder))}
    target = (SUITE, rootfs, mirror)
    status, log = building.debian(_options(wheels, pip), target, _STEPS, folder, environment)
    if status:
        known = (remedy for words, remedy in _REMEDIES.items() if words in log)
        what = f"mmdebstrap ended with status {status}"
        raise LabError(what, log, next(known, _LAST_RESORT))


def require_mmdebstrap() -> None:
    """Raise `LabError` unless it is installed."""
    if not shutil.which("mmdebstrap"):
        raise LabError("a Debian cannot be made here", "mmdebstrap is not installed", _APT)


def _options(wheels: Path, pip: Path) -> list[str]:
    """Return mmdebstrap's options; hooks are run by a shell, with the new root's folder as `$1`."""
    settings = [f"PATH={bases.PATH}", *(f"{key}={text}" for key, text in _REPRODUCIBLE.items())]
    copies = [f"{_TMP}/{Path(zip_pip.__file__).name}", f"{_TMP}/{pip.name}"]
    install = shlex.join(["env", "-i", *settings, "python3", *copies, _PIP])
    return [
        *("--variant=essential", "--format=tar", f"--include={','.join(PACKAGES)}"),
        f"--customize-hook=copy-in {shlex.quote(str(wheels))} /{Path(WHEELS_FOLDER).parent}",
        f"--customize-hook=copy-in {shlex.quote(str(pip))} {shlex.quote(zip_pip.__file__)} {_TMP}",
        f'--customize-hook=chroot "$1" {install}',
    ]


def _open_folder(scratch: Path) -> Path:
    """Make a folder in which users of a new user namespace may write.

    To the kernel they are others: see "unshare" in mmdebstrap(1). They must pass through the
    folders above, too: where they cannot, the folder that is everybody's serves.
    """
    scratch.chmod(0o711)
    folder = scratch / "temporary"
    if os.geteuid() != 0 and not all(each.stat().st_mode & 0o001 for each in folder.parents):
        return Path("/var/tmp")  # noqa: S108
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    return folder


SPACE_BYTES = 1_000_000_000
_OTHER_FOLDER = "name a folder with space: TMPDIR=FOLDER ./lab base"


def build(output: Path, mirror: str = "", *, again: bool = False) -> Path:
    """Make the archive in the folder `output`, unless it is there already; return its path.

    Takes half a minute, 1 GB of a temporary folder, and a network: Debian's packages, and PyPI.
    """
    archive = output / bases.ARCHIVE
    output.mkdir(parents=True, exist_ok=True)
    with building.alone(output, "./lab base"):
        if is_current(archive) and not again:
            print(f"already there: {archive}")
            return archive
        require_mmdebstrap()
        with building.scratch("base", output, SPACE_BYTES, _OTHER_FOLDER) as folder:
            wheels = folder / Path(WHEELS_FOLDER).name
            with Progress("downloading wheels"):
                _download(wheels, *WHEELS)
                pip = _download(folder, PIP)
            make(folder / "rootfs.tar", wheels, pip, mirror)
            with Progress("packing"):
                diff_id = write_layer(folder / "rootfs.tar", folder / "layer.tar")
                with building.staged("base", archive) as staged:
                    write_archive(folder / "layer.tar", diff_id, staged)
    print(f"made: {TAG} in {archive} ({archive.stat().st_size / 1e6:.0f} MB)")
    return archive


def is_current(archive: Path) -> bool:
    """Whether the archive is there, and made by today's recipe."""
    if not archive.is_file():
        return False
    try:
        labels = bases.read_config(archive)["config"]["Labels"]
    except AppBaseMissing:  # it is something else, and will be replaced
        return False
    return bool(labels.get(bases.RECIPE) == recipe_hash())


def main(argv: Sequence[str]) -> int:
    """`./lab base`: make the base image, or tell whether it is there."""
    what = (
        f"Make {TAG}, the base image of the tutorials' app for where no image can be "
        "pulled, from Debian packages (half a minute). It is kept and used from then on."
    )
    chosen = building.parser("base", what, bases.SYSTEM_BASES).parse_args(argv)
    for_all = is_current(bases.SYSTEM_BASES / bases.ARCHIVE)
    usual = bases.SYSTEM_BASES if for_all else bases.user_bases()
    archive = (chosen.output or usual) / bases.ARCHIVE
    if chosen.check:
        size = archive.stat().st_size if archive.exists() else 0
        return building.status_of(lambda: building.tell(archive, size, current=is_current(archive)))
    return building.status_of(
        lambda: build(archive.parent, chosen.mirror, again=chosen.again).exists()
    )


def _download(folder: Path, *names: str) -> Path:
    """Have this environment's pip fetch wheels, from where it is told to; return the last one."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    argv += ["--disable-pip-version-check", f"--dest={folder}", *names]
    folder.mkdir(exist_ok=True)
    status, log = building.run(argv, folder, os.environ)
    if status:
        raise LabError(
            f"pip could not download {', '.join(names)}", log, "connect to a network, then repeat"
        )
    return max(folder.glob("*.whl"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
