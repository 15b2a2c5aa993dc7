"""`./lab base`: make the base image of the tutorials' app once, and keep it as an archive."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from labsupport import building
from labsupport.base import debian, packing, recipe
from labsupport.engine.app_base import ARCHIVE, RECIPE, SYSTEM_BASES, TAG, read_config, user_bases
from labsupport.errors import AppBaseMissing, BaseBuildFailed, LabError
from labsupport.vm.progress import Progress

SPACE_BYTES = 1_000_000_000
_OTHER_FOLDER = "name a folder with space: TMPDIR=FOLDER ./lab base"


def build(output: Path, mirror: str = "", *, again: bool = False) -> Path:
    """Make the archive in the folder `output`, unless it is there already; return its path.

    Takes half a minute, 1 GB of a temporary folder, and a network: Debian's packages, and PyPI.
    """
    archive = output / ARCHIVE
    if is_current(archive) and not again:
        print(f"already there: {archive}")
        return archive
    output.mkdir(parents=True, exist_ok=True)
    with building.alone(output, "./lab base"):
        if is_current(archive) and not again:
            print(f"made meanwhile: {archive}")
            return archive
        debian.find_tool()
        with building.scratch("base", output, SPACE_BYTES, _OTHER_FOLDER) as folder:
            wheels = folder / Path(recipe.WHEELS_FOLDER).name
            with Progress("downloading wheels"):
                _download(wheels, *recipe.WHEELS)
                pip = _download(folder, recipe.PIP)
            debian.make(folder / "rootfs.tar", wheels, pip, mirror)
            with Progress("packing"):
                diff_id = packing.write_layer(folder / "rootfs.tar", folder / "layer.tar")
                _install(folder / "layer.tar", diff_id, archive)
    print(f"made: {TAG} in {archive} ({archive.stat().st_size / 1e6:.0f} MB)")
    return archive


def is_current(archive: Path) -> bool:
    """Whether the archive is there, and made by today's recipe."""
    if not archive.is_file():
        return False
    try:
        labels = read_config(archive)["config"]["Labels"]
    except AppBaseMissing:  # it is something else, and will be replaced
        return False
    return bool(labels.get(RECIPE) == recipe.recipe_hash())


def main(argv: Sequence[str]) -> int:
    """`./lab base`: make the base image, or tell whether it is there."""
    parser = argparse.ArgumentParser(
        prog="lab base",
        description=f"Make {TAG}, the base image of the tutorials' app for where no image can be "
        "pulled, from Debian packages (half a minute). It is kept and used from then on.",
    )
    parser.add_argument("--check", action="store_true", help="only tell whether it is there")
    parser.add_argument("--output", type=Path, help=f"folder for it (for all: {SYSTEM_BASES})")
    parser.add_argument("--mirror", default="", help="Debian mirror to use")
    parser.add_argument("--again", action="store_true", help="make it even if it is there already")
    chosen = parser.parse_args(argv)
    output = chosen.output or _folder()
    try:
        if chosen.check:
            return _tell(output / ARCHIVE)
        build(output, chosen.mirror, again=chosen.again)
    except LabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return 130
    return 0


def _folder() -> Path:
    """Return the machine's folder if the base is in there, else the user's."""
    return SYSTEM_BASES if is_current(SYSTEM_BASES / ARCHIVE) else user_bases()


def _tell(archive: Path) -> int:
    if is_current(archive):
        print(f"there: {archive} ({archive.stat().st_size / 1e6:.0f} MB)")
        return 0
    print(f"{'made by another recipe' if archive.exists() else 'not there'}: {archive}")
    return 1


def _install(layer: Path, diff_id: str, archive: Path) -> None:
    """Write the archive, and only then give it its name; who has the old one open keeps it."""
    staged = archive.with_name(f".{archive.name}")
    try:
        packing.write_archive(layer, diff_id, staged)
        staged.replace(archive)
    finally:
        staged.unlink(missing_ok=True)


def _download(folder: Path, *names: str) -> Path:
    """Have this environment's pip fetch wheels, from where it is told to; return the last one."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    argv += ["--disable-pip-version-check", f"--dest={folder}", *names]
    folder.mkdir(exist_ok=True)
    status, log = building.run(argv, folder, os.environ)
    if status:
        raise BaseBuildFailed(
            f"pip could not download {', '.join(names)}", log, "connect to a network, then repeat"
        )
    return max(folder.glob("*.whl"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
