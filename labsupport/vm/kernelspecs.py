"""`./lab kernels`: install the course's kernels into this virtual environment.

`python3` becomes our launcher, so that notebooks keep their ordinary metadata and open anywhere;
two more let a student choose the place by hand. `--remove` brings ipykernel's own back.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict, write_kernel_spec

from labsupport.errors import KernelspecsRefused
from labsupport.vm.environment import FONTS


@dataclass(frozen=True)
class Spec:
    """A kernel on Jupyter's list."""

    name: str
    display_name: str
    place: str


SPECS = (
    Spec("python3", "Python 3 (Lab)", "auto"),
    Spec("lab-host", "This machine", "host"),
    Spec("lab-vm", "Lab VM", "vm"),
)


def main(argv: Sequence[str]) -> int:
    """Install the kernels, or remove them."""
    parser = argparse.ArgumentParser(prog="lab kernels", description=__doc__)
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix), help="the environment")
    parser.add_argument("--remove", action="store_true", help="bring the ordinary kernel back")
    options = parser.parse_args(argv)
    if options.remove:
        remove(options.prefix)
        return 0
    for folder in install(options.prefix):
        print(folder)
    return 0


def install(prefix: str | Path = sys.prefix) -> list[Path]:
    """Write the kernelspecs below `prefix`, and return their folders. Repeating it is harmless."""
    folders = [_folder(prefix, spec.name) for spec in SPECS]
    try:
        for spec, folder in zip(SPECS, folders, strict=True):
            _write(spec, folder)
        if Path(prefix) == Path(sys.prefix):
            _list_fonts()
    except OSError as error:
        raise KernelspecsRefused(
            "the kernels cannot be installed",
            f"{error.filename}: {error.strerror}",
            "run ./lab kernels as the owner of the environment, or give another --prefix",
        ) from error
    return folders


def remove(prefix: str | Path = sys.prefix) -> None:
    """Remove the kernelspecs and put ipykernel's own `python3` back."""
    for spec in SPECS:
        folder = _folder(prefix, spec.name)
        if folder.exists():
            shutil.rmtree(folder)
    write_kernel_spec(_folder(prefix, "python3"))


def _folder(prefix: str | Path, name: str) -> Path:
    return Path(prefix) / "share" / "jupyter" / "kernels" / name


def _write(spec: Spec, folder: Path) -> None:
    """Write one kernelspec; kernel.json appears all at once, for Jupyter may be reading.

    Only at the host there is a debugger, see `labsupport.vm.inside.kernel`.
    """
    command = [sys.executable, "-m", "labsupport.vm.launcher", "--place", spec.place]
    kernel = get_kernel_dict()
    contents = {
        **kernel,
        "argv": [*command, "-f", "{connection_file}"],
        "display_name": spec.display_name,
        "interrupt_mode": "message",
        "metadata": {**kernel["metadata"], "debugger": spec.place == "host"},
    }
    shutil.copytree(RESOURCES, folder, dirs_exist_ok=True)
    new = folder / f".kernel.json.{os.getpid()}"
    new.write_text(json.dumps(contents, indent=1))
    new.replace(folder / "kernel.json")


def _list_fonts() -> None:
    """Let matplotlib make its list of fonts once, here: in a guest that takes seconds."""
    FONTS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "import matplotlib.font_manager"]
    subprocess.run(command, env={**os.environ, "MPLCONFIGDIR": str(FONTS)}, check=True)
