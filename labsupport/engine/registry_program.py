"""Where a registry's program is; light, since a probe asks, too."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from labsupport.errors import RegistryMissing

NAMES = ("docker-registry", "registry")  # Debian's name, and that of the project itself
PACKAGE = "docker-registry"
# In this Python's environment, which the Lab VM sees, too; sys.prefix names another under -S.
KEPT = Path(sys.executable).parents[1] / "share" / "labsupport" / PACKAGE
REMEDY = "./lab registry (it has apt fetch the package docker-registry, and installs nothing)"


def find() -> Path | None:
    """Find an installed program, or the one that `./lab registry` has fetched."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return Path(found)
    return KEPT if os.access(KEPT, os.X_OK) else None


def need() -> Path:
    """Find the program.

    Raises:
        RegistryMissing: there is none.

    """
    if found := find():
        return found
    raise RegistryMissing(
        "there is no registry",
        f"no program {' or '.join(NAMES)} is installed, and {KEPT} is not there",
        REMEDY,
    )
