"""A root file system run by runc or crun, the programs that make Docker's and Podman's containers.

What such a runtime is given is a *bundle*: a folder with `config.json` (its format is the OCI
runtime specification) and a root file system. `runc spec` writes the usual settings.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import RuntimeMissing

RUNTIMES = ("runc", "crun")


def find_runtime() -> str:
    """Find an OCI runtime; runc comes with every Docker. Raises `RuntimeMissing`."""
    for name in RUNTIMES:
        if found := shutil.which(name):
            return found
    why = f"none of {', '.join(RUNTIMES)} is installed"
    remedy = "sudo apt-get install runc (docker.io brings it)"
    raise RuntimeMissing("there is no container runtime", why, remedy)


@dataclass(frozen=True)
class Bundle:
    """A bundle for a runtime; `folder` holds its `config.json`, and `state` its running containers.

    `program` is the runtime's path.
    """

    program: str
    folder: Path

    @property
    def runtime(self) -> str:
        """The runtime's name: runc or crun."""
        return Path(self.program).name

    def run(self, name: str) -> list[str]:
        """Return the command that runs a container of that name, until its program ends."""
        return [*self._program, "run", f"--bundle={self.folder}", name]

    def kill(self, name: str) -> list[str]:
        """Return the command that ends that container; what runs it then removes what it made."""
        return [*self._program, "kill", name, "KILL"]

    @property
    def _program(self) -> list[str]:
        return [self.program, f"--root={self.folder / 'state'}"]


def bundle(
    folder: Path, root: Path, argv: Sequence[str], *, cgroup: str = "", rootless: bool = False,
    read_only: bool = False, program: str = "",
) -> Bundle:  # fmt: skip
    """Make a bundle in an empty folder: the usual settings, and this root file system and program.

    `cgroup` is the path of the control group that the runtime makes (and removes). `rootless`: for
    somebody who is root in a user namespace only, as in a `Sandbox`; the container then has no
    network of its own. `read_only`: the container cannot write to its root. `program` is the
    runtime's path, by default that of the first that is found. Raises `RuntimeMissing`.
    """
    program = program or find_runtime()
    words = [program, "spec"] + (["--rootless"] if rootless else [])
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": list(argv)}
    config["root"] = {"path": str(root), "readonly": read_only}
    # root inside is root of the user namespace around
    for map_ in ("uidMappings", "gidMappings") if rootless else ():
        config["linux"][map_] = [{"containerID": 0, "hostID": 0, "size": 1}]
    if cgroup:
        config["linux"]["cgroupsPath"] = cgroup
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return Bundle(program, folder)
