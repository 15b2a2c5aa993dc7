"""One image archive, run by whatever here can run containers: the same bytes, the same answer.

Each way takes the archive (as `docker save` writes it) and a program, runs it to its end without a
network, and leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labsupport import ownership, trace
from labsupport.completed import Completed
from labsupport.engine import oci_runtime
from labsupport.engine.client import Engine
from labsupport.engine.images import Image
from labsupport.engine.labels import owner_labels
from labsupport.engine.unpacked import unpack
from labsupport.errors import RuntimeFailed
from labsupport.linux.cgroup.leftovers import new_name
from labsupport.linux.sandbox import Sandbox
from labsupport.machine import probe

STAGE = ("pid", "mount", "net", "uts", "ipc")
SECONDS = 120


@dataclass(frozen=True)
class Ran:
    """What one runtime made of the archive: `output` is what the program printed.

    `command` does the same in a terminal; `seconds` includes what had to be unpacked or loaded.
    """

    runtime: str
    command: str
    output: str
    seconds: float


def save(engine: Engine, name: str, path: Path) -> Path:
    """Write an image into an archive, as `docker save` does; return where it is."""
    image = engine.client.images.get(name)
    with path.open("wb") as file:
        for chunk in image.save(named=name):
            file.write(chunk)
    return path


def run_everywhere(engine: Engine, archive: Path, argv: Sequence[str]) -> list[Ran]:
    """Run a program of the archive's image in our own sandbox and by every runtime that is here.

    Raises:
        RuntimeFailed: one of them did not run it; the message says which, and its words.

    """
    return [way(argv) for way in ways(engine, archive).values()]


def ways(engine: Engine, archive: Path) -> Mapping[str, Callable[[Sequence[str]], Ran]]:
    """Return by name what can run the archive here."""
    found: dict[str, Callable[[Sequence[str]], Ran]] = {
        "our own sandbox": partial(in_sandbox, archive),
        engine.kind: partial(in_engine, archive, engine=engine),
    }
    if runc := oci_runtime.path_of("runc"):
        found["runc"] = partial(in_runtime, archive, program=runc)
    if probe().cgroup_version != 2:  # crun, which podman uses, refuses machines that have both
        return found
    if crun := oci_runtime.path_of("crun"):
        found["crun"] = partial(in_runtime, archive, program=crun)
    podman = oci_runtime.path_of("podman")
    if podman and engine.kind != "podman" and os.geteuid() == 0:
        found["podman"] = partial(in_podman, archive, program=podman)
    return found


def in_sandbox(archive: Path, argv: Sequence[str]) -> Ran:
    """Unpack it and run the program with a `Sandbox` around it."""
    began = time.monotonic()
    with _folder() as scratch, Image.open(archive) as image:
        root = _root(image, Path(scratch))
        with Sandbox(new={"pid", "mount", "uts", "ipc", "net"}, rootfs=root) as box:
            done = box.run(list(argv), env=_environment(image), timeout=SECONDS)
    command = f"tar --extract --file={archive.name} …; unshare … chroot {trace.command(argv)}"
    return _ran("our own sandbox", command, done, began)


def in_runtime(archive: Path, argv: Sequence[str], program: str) -> Ran:
    """Unpack it and let an OCI runtime run it, in a sandbox where it may do as it likes."""
    began = time.monotonic()
    name = Path(program).name
    rootless = "user" in Sandbox(new=STAGE).new
    with _folder() as scratch, Image.open(archive) as image:
        root = _root(image, Path(scratch))
        bundle_folder = Path(scratch) / "bundle"
        bundle_folder.mkdir()
        with Sandbox(new={*STAGE, "user"} if rootless else set(STAGE)) as stage:
            made = oci_runtime.bundle(
                bundle_folder, root, argv, rootless=rootless, program=program,
                cgroup="" if rootless else f"/{new_name('runtime')}",
            )  # fmt: skip
            done = stage.run(made.run("archive"), cwd="/", timeout=SECONDS)
    return _ran(name, f"{name} run --bundle={bundle_folder.name} archive", done, began)


def in_engine(archive: Path, argv: Sequence[str], engine: Engine) -> Ran:
    """Load it into the engine and run it; an image that was there before stays."""
    began = time.monotonic()
    with archive.open("rb") as file:
        [image] = engine.client.images.load(file)
    container: Any = engine.client.containers.create(
        image, list(argv), network_mode="none", labels=owner_labels()
    )
    try:
        container.start()
        status = container.wait(timeout=SECONDS)["StatusCode"]
        said, wrong = (container.logs(stdout=out, stderr=not out).decode() for out in (True, False))
    finally:
        container.remove(force=True)
    done = Completed(tuple(argv), said, wrong, status, 0.0)
    line = f"docker load < {archive.name}; docker run --rm --network none … {trace.command(argv)}"
    return _ran(engine.kind, line.replace("docker", engine.kind), done, began)


def in_podman(archive: Path, argv: Sequence[str], program: str) -> Ran:
    """Load it into a store of podman's that goes with the sandbox it is in, and run it."""
    began = time.monotonic()
    store = [program, "--root=/mnt/root", "--runroot=/mnt/run", "--storage-driver=vfs"]
    # podman would raise these limits, which takes a privilege that not every root has
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
    with Sandbox(new={"pid", "mount"}) as stage:
        stage.run(["mount", "-t", "tmpfs", "store", "/mnt"])
        loaded = stage.run([*store, "load", "--quiet", f"--input={archive}"], timeout=SECONDS)
        name = loaded.stdout.strip().rpartition(" ")[2]
        run = ["--cgroup-manager=cgroupfs", "run", "--rm", "--network=none", "--cgroups=disabled"]
        done = stage.run([*store, *run, *limits, name, *argv], timeout=SECONDS)
    line = f"podman load < {archive.name}; podman run --rm --network none … {trace.command(argv)}"
    return _ran("podman", line, done, began)


def _ran(runtime: str, command: str, done: Completed, began: float) -> Ran:
    if done.returncode:
        raise RuntimeFailed(
            f"{runtime} did not run the image", (done.stderr or done.stdout).strip()[-400:]
        )
    return Ran(runtime, command, done.stdout, time.monotonic() - began)


def _root(image: Image, scratch: Path) -> Path:
    root = scratch / "rootfs"
    root.mkdir()
    unpack(image, root)
    for name in ("proc", "dev", "sys", "tmp"):
        (root / name).mkdir(exist_ok=True)
    scratch.chmod(0o755)
    return root


def _environment(image: Image) -> dict[str, str]:
    words = (image.config.get("config") or {}).get("Env") or []
    return dict(word.split("=", 1) for word in words)


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=ownership.prefix("archive"))
