"""The base image of the tutorials' app where none is pulled: find its archive, and load it.

The archive is made by `./lab base` (see `labsupport.base`), once, outside of any engine.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from labsupport.errors import AppBaseMissing

if TYPE_CHECKING:
    from docker.models.images import Image

    from labsupport.engine.client import Engine

REPOSITORY = "labsupport/python-apertium"
TAG = f"{REPOSITORY}:bookworm"
ARCHIVE = "python-apertium-bookworm.tar"
SYSTEM_BASES = Path("/usr/local/lib/labsupport/bases")
RECIPE = "org.labsupport.recipe"


def user_bases() -> Path:
    """Where this user's bases are kept; in the Lab VM, the folder of the user who started it."""
    cache = os.environ.get("LAB_CACHE") or platformdirs.user_cache_dir("labsupport")
    return Path(cache) / "bases"


def find_archive() -> Path:
    """Return the archive of the base: this user's, else the machine's.

    Raises `AppBaseMissing`.
    """
    for folder in (user_bases(), SYSTEM_BASES):
        if (folder / ARCHIVE).is_file():
            return folder / ARCHIVE
    raise AppBaseMissing(f"there is no {ARCHIVE} in {user_bases()} or {SYSTEM_BASES}")


def read_config(archive: Path) -> dict[str, Any]:
    """Read an archive's image configuration; see the OCI image specification."""
    with tarfile.open(archive) as tar:
        content = tar.extractfile("config.json")
        config: dict[str, Any] = json.load(content) if content else {}
        return config


def app_base(engine: Engine) -> Image:
    """Return the image `labsupport/python-apertium:bookworm`, loaded unless it is there already.

    Raises `AppBaseMissing` if `./lab base` has not made it.
    """
    from docker.errors import ImageNotFound

    archive = find_archive()
    wanted = read_config(archive)["rootfs"]["diff_ids"]
    try:
        image = engine.client.images.get(TAG)
    except ImageNotFound:
        pass
    else:
        if image.attrs["RootFS"]["Layers"] == wanted:
            return image
    with archive.open("rb") as file:
        engine.client.images.load(file)
    return engine.client.images.get(TAG)
