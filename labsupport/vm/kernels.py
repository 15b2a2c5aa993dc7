"""Which kernel the Lab VM runs: the student's choice, our own build, or the distribution's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from labsupport.errors import GuestKernelMissing, NotAGuestKernel

REMEDY = (
    "apt-get install user-mode-linux (Debian), or build our own, which can do more: "
    "./lab vm build-kernel"
)
_ELF = b"\x7fELF"


def find_kernel() -> Path:
    """Return the kernel to boot: `LAB_KERNEL`, else our own build, else `linux.uml` on the path.

    Raises `GuestKernelMissing` or `NotAGuestKernel`.
    """
    from labsupport.vm.build import cached_kernel

    chosen = os.environ.get("LAB_KERNEL")
    if chosen:
        return _checked(Path(chosen))
    if os.uname().machine != "x86_64":
        raise GuestKernelMissing(
            "the Lab VM cannot run here", f"User-Mode Linux is for x86-64, not {os.uname().machine}"
        )
    own = cached_kernel()
    if own:
        return own
    packaged = shutil.which("linux.uml", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin")
    if packaged:
        return _checked(Path(packaged))
    raise GuestKernelMissing(
        "there is no kernel for the Lab VM",
        "LAB_KERNEL is not set, none was built, and no linux.uml is installed",
        REMEDY,
    )


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            start = file.read(len(_ELF))
    except OSError as error:
        raise NotAGuestKernel(
            f"no kernel at {path}", error.strerror or str(error), REMEDY
        ) from error
    if start != _ELF:
        raise NotAGuestKernel(f"{path} is no kernel", "it is no ELF program", REMEDY)
    if not os.access(path, os.X_OK):
        raise NotAGuestKernel(f"{path} cannot be executed", "it has no x bit", f"chmod +x {path}")
    return path
