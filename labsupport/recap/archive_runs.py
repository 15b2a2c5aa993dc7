"""One image archive, run by whatever here can run containers: the same bytes, the same answer.

Each way takes the archive (as `docker save` writes it) and a program, runs it to its end without a
network, and leaves nothing behind.
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from labsupport.build.workbench import Workbench
from labsupport.cgroup.life import new_name
from labsupport.doctor.machine import probe
from labsupport.engine import oci_runtime
from labsupport.engine.client import Engine
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox
from labsupport.trace import Completed

STAGE = ("pid", "mount", "net", "uts", "ipc")
SECONDS = 120
Way = Callable[[Sequence[str]], str]
"""Runs a program of the image, and returns what it printed."""


def ways(engine: Engine, archive: Path) -> Mapping[str, Way]:
    """Return by name what can run a program of the archive's image here: our own sandbox, runtimes.

    Each raises `LabError` if it does not run it; the message has its words.
    """
    found: dict[str, Way] = {
        "our own sandbox": partial(in_sandbox, archive),
        engine.kind: partial(in_engine, archive, engine=engine),
    }
    if runc := shutil.which("runc"):
        found["runc"] = partial(in_runtime, archive, program=runc)
    if probe().cgroup_version != 2:  # crun, which podman uses, refuses machines that have both
        return found
    if crun := shutil.which("crun"):
        found["crun"] = partial(in_runtime, archive, program=crun)
    podman = shutil.which("podman")
    if podman and engine.kind != "podman" and os.geteuid() == 0:
        found["podman"] = partial(in_podman, archive, program=podman)
    return found


def in_sandbox(archive: Path, argv: Sequence[str]) -> str:
    """Unpack it and run the program with a `Sandbox` around it."""
    with unpacked(archive) as root, Sandbox(new=set(STAGE), rootfs=root) as box:
        return _said("our own sandbox", box.run(argv, timeout=SECONDS))


def in_runtime(archive: Path, argv: Sequence[str], program: str) -> str:
    """Unpack it and let an OCI runtime run it, in a sandbox where it may do as it likes."""
    rootless = "user" in Sandbox(new=STAGE).new
    with unpacked(archive) as root:
        bundle_folder = root.parent / "bundle"
        bundle_folder.mkdir()
        with Sandbox(new={*STAGE, "user"} if rootless else set(STAGE)) as stage:
            made = oci_runtime.bundle(
                bundle_folder, root, argv, rootless=rootless, program=program,
                cgroup="" if rootless else f"/{new_name('runtime')}",
            )  # fmt: skip
            done = stage.run(made.run("archive"), cwd="/", timeout=SECONDS)
    return _said(Path(program).name, done)


def in_engine(archive: Path, argv: Sequence[str], engine: Engine) -> str:
    """Load it into the engine and run it; an image that was there before stays."""
    with archive.open("rb") as file:
        [image] = engine.client.images.load(file)
    with Workbench(engine) as bench:
        ran = bench.run(str(image.id), *argv, patience=SECONDS)
    done = Completed(tuple(argv), ran.output, ran.errors, ran.status, ran.seconds)
    return _said(engine.kind, done)


def in_podman(archive: Path, argv: Sequence[str], program: str) -> str:
    """Load it into a store of podman's that goes with the sandbox it is in, and run it."""
    store = [program, "--root=/mnt/root", "--runroot=/mnt/run", "--storage-driver=vfs"]
    # podman would raise these limits, which takes a privilege that not every root has
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
    with Sandbox(new={"pid", "mount"}) as stage:
        stage.run(["mount", "-t", "tmpfs", "store", "/mnt"])
        loaded = stage.run([*store, "load", "--quiet", f"--input={archive}"], timeout=SECONDS)
        name = loaded.stdout.strip().rpartition(" ")[2]
        run = ["--cgroup-manager=cgroupfs", "run", "--rm", "--network=none", "--cgroups=disabled"]
        done = stage.run([*store, *run, *limits, name, *argv], timeout=SECONDS)
    return _said("podman", done)


def _said(runtime: str, done: Completed) -> str:
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{runtime} did not run the image", said[-400:])
    return done.stdout


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack the layers of an image of the course's into a folder, which is removed at the end.

    It is what an engine does before it starts a container, but for what a layer deletes.
    """
    with tempfile.TemporaryDirectory(prefix=marks.prefix("archive")) as scratch:
        root = Path(scratch) / "rootfs"
        root.mkdir()
        with tarfile.open(archive) as image:
            manifest: Any = image.extractfile("manifest.json")
            for name in json.load(manifest)[0]["Layers"]:
                layer: Any = image.extractfile(name)
                argv = ["tar", "--extract", "--no-same-owner", f"--directory={root}"]
                subprocess.run(argv, input=layer.read(), check=True)
        Path(scratch).chmod(0o755)
        yield root
