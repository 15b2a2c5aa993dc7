"""Toy programs that stand in for apt-get and pipenv, so that a build needs no network.

They write random bytes where the real ones write files, at a hundredth of the size, and take as
long as a nap. What an image's layers, a cache and a registry make of that is real.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from labsupport.engine import base_image
from labsupport.engine.labels import COURSE, OWNER

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

TAG = "labsupport/toys:latest"
LIBRARY_BYTES = 135_000  # of each that `pipenv sync` installs

_BYTES = """
bytes() {  # HOW-MANY FILE
    mkdir -p "${2%/*}"
    head -c "$1" /dev/urandom > "$2"
}
"""

APT_GET = f"""#!/bin/sh
# A toy, not apt-get: random bytes, a hundredth of the size.
set -e
{_BYTES}
command=$1; shift
case $command in
update) bytes 190000 /var/lib/apt/lists/packages ;;
install)
    [ "$1" = -y ] && shift
    [ -e /var/lib/apt/lists/packages ] || {{ echo "no lists: apt-get update first"; exit 100; }}
    for name; do
        case $name in
        build-essential) archive=550000 program=1600000 ;;
        git) archive=90000 program=360000 ;;
        pipenv) archive=100000 program=400000 ;;
        *) echo "Unable to locate package $name"; exit 100 ;;
        esac
        bytes $archive "/var/cache/apt/archives/$name.deb"
        bytes $program "/usr/lib/$name/files"
    done ;;
purge)
    [ "$1" = -y ] && shift
    for name; do rm -rf "/usr/lib/$name"; done ;;
clean) rm -rf /var/cache/apt ;;
*) echo "this toy knows update, install, purge, clean"; exit 100 ;;
esac
"""

PIPENV = f"""#!/bin/sh
# A toy, not pipenv: one file of random bytes for each line of /Pipfile.
set -e
{_BYTES}
[ "$1" = sync ] || {{ echo "this toy knows sync"; exit 2; }}
[ -e /usr/lib/pipenv ] || {{ echo "pipenv is not installed"; exit 127; }}
[ -e /usr/lib/build-essential ] || {{ echo "there is no compiler: build-essential"; exit 1; }}
sleep 0.5  # the real one downloads
while read -r name; do bytes {LIBRARY_BYTES} "/venv/$name"; done < /Pipfile
"""


TOYS = {"apt-get": APT_GET, "pipenv": PIPENV}


def toy_base(engine: Engine) -> str:
    """Have the image `labsupport/toys` in the engine: busybox and the toys; return its name.

    It comes with the base image; both are the course's and stay. Raises `BaseFilesMissing` if
    there is no busybox.
    """
    from docker.errors import ImageNotFound

    engine.base_image()
    layers = [base_image.busybox_layer(), _toy_layer()]
    config = _config([f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers])
    try:
        found = engine.client.images.get(TAG)
    except ImageNotFound:
        pass
    else:
        if found.attrs["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]:
            return TAG
    engine.client.images.load(base_image.archive(TAG, config, layers))
    return TAG


def _toy_layer() -> bytes:
    files = {
        f"usr/local/bin/{name}": base_image.a_file(text.encode(), 0o755)
        for name, text in TOYS.items()
    }
    return base_image.pack(files)


def _config(diff_ids: list[str]) -> dict[str, Any]:
    """The image's configuration, as the OCI image specification has it."""
    machine = os.uname().machine
    steps = ["ADD rootfs.tar / # the course's busybox", "COPY apt-get pipenv /usr/local/bin/"]
    return {
        "architecture": base_image.ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": base_image.CREATED,
        "config": {
            "Env": [f"PATH={base_image.PATH}"],
            "Cmd": ["sh"],
            "Labels": {OWNER: COURSE},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": base_image.CREATED, "created_by": words} for words in steps],
    }
