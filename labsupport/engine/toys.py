"""Toy programs that stand in for apt-get and pipenv, so that a build needs no network.

They write random bytes where the real ones write files, at a hundredth of the size, and take as
long as two naps. What an image's layers, a cache and a registry make of that is real.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport.engine.builds import Build

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

TAG = "labsupport/toys:latest"
DOCKERFILE = "FROM labsupport/busybox\nCOPY bin /usr/local/bin\n"

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
sleep 1  # the real one downloads
while read -r name; do bytes 135000 "/venv/$name"; done < /Pipfile
"""


def toy_base(engine: Engine) -> str:
    """Make the image `labsupport/toys`, if it is not there: busybox and the toys; return its name.

    Raises:
        BuildFailed: the engine could not build it; the message says why.

    """
    engine.base_image()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "Dockerfile").write_text(DOCKERFILE)
        for program, text in {"apt-get": APT_GET, "pipenv": PIPENV}.items():
            path = folder / "bin" / program
            path.write_text(text)
            path.chmod(0o755)
        Build.run(engine, folder, tag=TAG)
    return TAG
