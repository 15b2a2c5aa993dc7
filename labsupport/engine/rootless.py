"""A container without any root: an OCI runtime run by an ordinary user.

An OCI *bundle* is a folder with a root file system and a `config.json` that says what to make of it
(OCI runtime specification). The runtime itself writes one that an ordinary user can run, with
`runc spec --rootless`; we change only the program and what it needs not to need a terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from labsupport.errors import RuntimeMissing

RUNTIMES = ("runc", "crun")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin"


def find_runtime() -> str:
    """Find an OCI runtime; runc comes with every Docker.

    Raises:
        RuntimeMissing: there is none.

    """
    for name in RUNTIMES:
        if found := shutil.which(name, path=_PATH):
            return found
    raise RuntimeMissing(
        "there is no container runtime",
        f"none of {', '.join(RUNTIMES)} is installed",
        "sudo apt-get install runc (docker.io brings it)",
    )


def write_bundle(folder: Path, rootfs: Path, argv: Sequence[str]) -> list[str]:
    """Fill `folder` with a bundle and return the command that runs it, for an ordinary user.

    The command is to be run where that user seems to be root, as in a `Sandbox` with a user
    namespace; `folder` must be theirs, and `rootfs` readable for them. The container has no
    network of its own, as the runtime's rootless default is.

    Raises:
        RuntimeMissing: there is no OCI runtime.

    """
    runtime = find_runtime()
    subprocess.run([runtime, "spec", "--rootless", f"--bundle={folder}"], check=True)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["root"] = {"path": str(rootfs), "readonly": True}
    config["process"] |= {"terminal": False, "args": list(argv)}
    for map_ in ("uidMappings", "gidMappings"):  # root inside is root of the user namespace around
        config["linux"][map_] = [{"containerID": 0, "hostID": 0, "size": 1}]
    file.write_text(json.dumps(config))
    (folder / "state").mkdir()
    (folder / "state").chmod(0o777)
    return [runtime, f"--root={folder / 'state'}", "run", f"--bundle={folder}", "rootless"]
