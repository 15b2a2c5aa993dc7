"""`./lab vm-disk`: make the disk of the tutorial's virtual machine once, and keep it."""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labsupport import building
from labsupport.base import command as app_base
from labsupport.engine.app_base import TAG, find_archive, user_bases
from labsupport.errors import LabError
from labsupport.vm.machine import disk as disks
from labsupport.vm.machine.hypervisor import program
from labsupport.vm.progress import Progress
from labsupport.vmdisk import baking, debian, recipe

SPACE_BYTES = 3_000_000_000
_OTHER_FOLDER = "name a folder with space: TMPDIR=FOLDER ./lab vm-disk"
_FORETOLD = (
    "Makes a disk with Debian, its kernel and Docker: one minute for the packages, and one to "
    "three to start it once (the longer without KVM). It takes 3 GB for a moment, 0.3 GB to keep."
)


def build(output: Path, mirror: str = "", *, again: bool = False) -> Path:
    """Make the disk in the folder `output`, unless it is there already; return its folder.

    Needs a network, for Debian's packages, and `SPACE_BYTES` of a temporary folder.
    """
    folder = output / disks.NAME
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output):
        if is_current(folder) and not again:
            print(f"already there: {folder}")
            return folder
        print(_FORETOLD, flush=True)
        program()
        debian.require_tools()
        archive = _app_base(mirror)
        with (
            building.scratch("disk", output, SPACE_BYTES, _OTHER_FOLDER) as scratch,
            _staged(output) as staged,
        ):
            base = _make(scratch, staged, mirror)
            baking.bake(base, archive)
            shutil.rmtree(folder, ignore_errors=True)
            staged.rename(folder)
    size = (folder / disks.IMAGE).stat().st_size
    print(f"made: Debian with Linux {base.release} in {folder} ({size / 1e6:.0f} MB)")
    return folder


def is_current(folder: Path) -> bool:
    """Whether the disk is there, and made by today's recipe."""
    found = disks.read_disk(folder)
    return found is not None and found.recipe == recipe.recipe_hash()


def main(argv: Sequence[str]) -> int:
    """`./lab vm-disk`: make the disk, or tell whether it is there."""
    parser = argparse.ArgumentParser(prog="lab vm-disk", description=_FORETOLD)
    parser.add_argument("--check", action="store_true", help="only tell whether it is there")
    parser.add_argument(
        "--output", type=Path, help=f"folder for it (for all users: {disks.SYSTEM_DISKS})"
    )
    parser.add_argument("--mirror", default="", help="Debian mirror to use")
    parser.add_argument("--again", action="store_true", help="make it even if it is there already")
    chosen = parser.parse_args(argv)
    output = chosen.output or disks.user_disks()
    try:
        if chosen.check:
            return _tell(output / disks.NAME)
        build(output, chosen.mirror, again=chosen.again)
    except LabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return 130
    return 0


def _make(scratch: Path, staged: Path, mirror: str) -> disks.BaseDisk:
    """Put the disk, its kernel and what is known of them into the folder `staged`."""
    raw, kernel, initrd = debian.make(scratch, mirror)
    with Progress("writing the disk"):
        disks.run_tool(["qemu-img", "convert", "-O", "qcow2", str(raw), str(staged / disks.IMAGE)])
        raw.unlink()
    shutil.copy(kernel, staged / disks.KERNEL)
    shutil.copy(initrd, staged / disks.INITRD)
    release = kernel.name.removeprefix("vmlinuz-")
    about = {"release": release, "recipe": recipe.recipe_hash(), "app_base": TAG}
    (staged / disks.ABOUT).write_text(json.dumps(about))
    found = disks.read_disk(staged)
    assert found  # noqa: S101 (it has just been written)
    return found


def _app_base(mirror: str) -> Path:
    """Return the archive of the app's base; make it if it is not there."""
    if not (archive := find_archive()):
        archive = app_base.build(user_bases(), mirror)
    return archive


def _tell(folder: Path) -> int:
    found = disks.read_disk(folder)
    if found and is_current(folder):
        print(f"there: {folder} ({found.size_bytes / 1e6:.0f} MB)")
        return 0
    print(f"{'made by another recipe' if found else 'not there'}: {folder}")
    return 1


@contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """Make a folder beside where the disk will be; it goes unless it has been renamed."""
    folder = output / f".{disks.NAME}"
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else makes a disk in this folder."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another ./lab vm-disk is at work; waiting for it …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
