"""`./lab kernels`: install the course's kernels into this virtual environment.

`python3` becomes our launcher, so that notebooks keep their ordinary metadata and open anywhere;
two more let a student choose the place by hand.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict

from labsupport.errors import LabError

SPECS = {
    "python3": ("Python 3 (Lab)", "auto"),
    "lab-host": ("This machine", "host"),
    "lab-vm": ("Lab VM", "vm"),
}
"""The kernels on Jupyter's list: the name that is shown, and the place."""


def main(argv: Sequence[str]) -> int:
    """Install the kernels."""
    parser = argparse.ArgumentParser(prog="lab kernels", description=__doc__)
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix), help="the environment")
    for folder in install(parser.parse_args(argv).prefix):
        print(folder)
    return 0


def install(prefix: str | Path = sys.prefix) -> list[Path]:
    """Write the kernelspecs below `prefix`, and return their folders. Repeating it is harmless."""
    kernels = Path(prefix, "share", "jupyter", "kernels")
    try:
        for name, (shown, place) in SPECS.items():
            _write(kernels / name, shown, place)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        remedy = "run ./lab kernels as the owner of the environment, or give another --prefix"
        raise LabError("the kernels cannot be installed", why, remedy) from error
    return [kernels / name for name in SPECS]


def _write(folder: Path, shown: str, place: str) -> None:
    """Write one kernelspec; kernel.json appears all at once, for Jupyter may be reading."""
    # only at the host there is a debugger, see `labsupport.vm.inside.kernel`
    command = [sys.executable, "-m", "labsupport.vm.launcher", "--place", place]
    kernel = get_kernel_dict()
    contents = {
        **kernel,
        "argv": [*command, "-f", "{connection_file}"],
        "display_name": shown,
        "interrupt_mode": "message",
        "env": {"PYTHONUTF8": "1"},  # names of files, too, whatever the locale
        "metadata": {**kernel["metadata"], "debugger": place == "host"},
    }
    shutil.copytree(RESOURCES, folder, dirs_exist_ok=True)
    new = folder / f".kernel.json.{os.getpid()}"
    new.write_text(json.dumps(contents, indent=1))
    new.replace(folder / "kernel.json")
