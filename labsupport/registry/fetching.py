"""Take a registry's program out of its Debian package, without installing the package.

Installing the package would make a service of it, which listens to everybody and starts with the
machine. So `./lab registry` has apt fetch and verify the package, and takes the program out of it
into this Python's environment, which the Lab VM sees, too. That needs no root and starts nothing.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labsupport.doctor.addresses import KEPT, PACKAGE, find
from labsupport.errors import LabError


def fetch() -> Path:
    """Take the program out of Debian's or Ubuntu's package, 5 MB, into this environment.

    Raises `LabError`: no apt, no network, no such package, or no place to write.
    """
    with tempfile.TemporaryDirectory(prefix="labsupport-deb-") as folder:
        # apt checks the package against its signed lists
        _run(["apt-get", "download", "--quiet", PACKAGE], folder)
        package = next(Path(folder).glob(f"{PACKAGE}_*.deb"))
        _run(["dpkg-deb", "--extract", str(package), folder], folder)
        new = KEPT.with_name(f"{KEPT.name}.{os.getpid()}")
        try:
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(folder, "usr/bin", PACKAGE), new)
            new.rename(KEPT)  # those who run the old one go on
        except OSError as error:
            why = f"{error.strerror}: {error.filename}"
            raise LabError(_WHAT, why, "run it as the user who made it") from error
    return KEPT


_WHAT = "the registry's program cannot be fetched"


def _run(argv: Sequence[str], folder: str) -> None:
    try:
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        remedy = "have your package manager install a registry (docker-registry, or distribution)"
        raise LabError(_WHAT, f"there is no {argv[0]} here", remedy) from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.startswith("E:")]
        why = said[-1] if said else f"{argv[0]} ended with status {error.returncode}"
        remedy = "sudo apt-get update, then ./lab registry again (is there a network?)"
        raise LabError(_WHAT, why, remedy) from error


def main(argv: Sequence[str]) -> int:
    """`./lab registry`: fetch the program of a private registry, unless one is there."""
    parser = argparse.ArgumentParser(prog="lab registry", description=main.__doc__)
    parser.add_argument("--again", action="store_true", help="fetch it even if one is there")
    found = None if parser.parse_args(argv).again else find()
    print(f"there is one: {found}" if found else f"fetched: {fetch()}")
    return 0
