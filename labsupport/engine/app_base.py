"""The base image of the tutorials' app where none is pulled: find its archive, and load it.

The archive is made by `./lab base` (see `labsupport.base`), once, outside of any engine.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from labsupport.errors import AppBaseMissing

if TYPE_CHECKING:
    from docker import APIClient
    from docker.models.images import Image

    from labsupport.engine.client import Engine

REPOSITORY = "labsupport/python-apertium"
TAG = f"{REPOSITORY}:bookworm"
ARCHIVE = "python-apertium-bookworm.tar"
SYSTEM_BASES = Path("/usr/local/lib/labsupport/bases")
LONGEST_SECONDS = 600
RECIPE = "org.labsupport.recipe"


def user_bases() -> Path:
    """Where this user's bases are kept: `LAB_BASES`, else a folder of their cache.

    In the Lab VM it is the folder of the user who has started it.
    """
    chosen = os.environ.get("LAB_BASES")
    return Path(chosen or Path(platformdirs.user_cache_dir("labsupport")) / "bases")


def find_archive() -> Path | None:
    """Return the archive of the base: this user's, else the machine's, else None."""
    archives = (folder / ARCHIVE for folder in (user_bases(), SYSTEM_BASES))
    return next((archive for archive in archives if archive.is_file()), None)


def read_config(archive: Path) -> dict[str, Any]:
    """Read an archive's image configuration; see the OCI image specification.

    Raises `AppBaseMissing` if it is none.
    """
    try:
        with tarfile.open(archive) as tar:
            content = tar.extractfile("config.json")
            config: dict[str, Any] = json.load(content) if content else {}
            return config
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise AppBaseMissing(f"{archive} is no archive of it: {error}") from error


def app_base(engine: Engine) -> Image:
    """Return the image `labsupport/python-apertium:bookworm`, loaded unless it is there already.

    That takes a few seconds, in the Lab VM a dozen. Raises `AppBaseMissing` if neither the engine
    has the image nor `./lab base` has made its archive.
    """
    archive = find_archive()
    image = _loaded(engine)
    if archive is None:
        if image is None:
            raise AppBaseMissing(f"there is no {ARCHIVE} in {user_bases()} or {SYSTEM_BASES}")
        return image
    wanted = read_config(archive)["rootfs"]["diff_ids"]
    if image is None or image.attrs["RootFS"]["Layers"] != wanted:
        with archive.open("rb") as file, _patiently(engine.client.api):
            engine.client.images.load(file)
    return engine.client.images.get(TAG)


def _loaded(engine: Engine) -> Image | None:
    from docker.errors import ImageNotFound

    try:
        return engine.client.images.get(TAG)
    except ImageNotFound:
        return None


@contextmanager
def _patiently(api: APIClient) -> Iterator[None]:
    """Let the engine be silent for long: it unpacks the archive before it says a word."""
    before, api.timeout = api.timeout, LONGEST_SECONDS
    try:
        yield
    finally:
        api.timeout = before
