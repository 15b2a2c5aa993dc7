"""One image archive, run by whatever here can run containers: the same bytes, the same answer.

Each way takes the archive (as `docker save` writes it) and a program, runs it to its end without a
network, and leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labsupport import trace
from labsupport.cgroup.life import new_name
from labsupport.doctor.addresses import find_program
from labsupport.doctor.machine import probe
from labsupport.engine import oci_runtime
from labsupport.engine.client import Engine
from labsupport.engine.listing import owner_labels
from labsupport.errors import LabError
from labsupport.image.image import Image
from labsupport.image.layers import Entry
from labsupport.ownership import marks
from labsupport.sandbox.sandbox import Sandbox
from labsupport.trace import Completed

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


def ways(engine: Engine, archive: Path) -> Mapping[str, Callable[[Sequence[str]], Ran]]:
    """Return by name what can run a program of the archive's image here: our own sandbox, runtimes.

    Each raises `LabError` if it does not run it; the message has its words.
    """
    found: dict[str, Callable[[Sequence[str]], Ran]] = {
        "our own sandbox": partial(in_sandbox, archive),
        engine.kind: partial(in_engine, archive, engine=engine),
    }
    if runc := find_program("runc"):
        found["runc"] = partial(in_runtime, archive, program=runc)
    if probe().cgroup_version != 2:  # crun, which podman uses, refuses machines that have both
        return found
    if crun := find_program("crun"):
        found["crun"] = partial(in_runtime, archive, program=crun)
    podman = find_program("podman")
    if podman and engine.kind != "podman" and os.geteuid() == 0:
        found["podman"] = partial(in_podman, archive, program=podman)
    return found


def in_sandbox(archive: Path, argv: Sequence[str]) -> Ran:
    """Unpack it and run the program with a `Sandbox` around it."""
    began = time.monotonic()
    with unpacked(archive) as (root, image):
        words = (image.config.get("config") or {}).get("Env") or []
        environment = dict(word.split("=", 1) for word in words)
        with Sandbox(new=set(STAGE), rootfs=root) as box:
            done = box.run(list(argv), env=environment, timeout=SECONDS)
    command = f"tar --extract --file={archive.name} …; unshare … chroot {trace.command(argv)}"
    return _ran("our own sandbox", command, done, began)


def in_runtime(archive: Path, argv: Sequence[str], program: str) -> Ran:
    """Unpack it and let an OCI runtime run it, in a sandbox where it may do as it likes."""
    began = time.monotonic()
    name = Path(program).name
    rootless = "user" in Sandbox(new=STAGE).new
    with unpacked(archive) as (root, _):
        bundle_folder = root.parent / "bundle"
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
        raise LabError(
            f"{runtime} did not run the image", (done.stderr or done.stdout).strip()[-400:]
        )
    return Ran(runtime, command, done.stdout, time.monotonic() - began)


@contextmanager
def unpacked(archive: Path) -> Iterator[tuple[Path, Image]]:
    """Unpack an image's files into a folder, which is removed at the end: its root, and the image.

    It is what an engine does before it starts a container. Only what a container of the course's
    own can use is written: folders, files and links, which are ours. Nothing can be written outside
    of the folder: names were checked when the image was read, and no link is followed.

    Raises `LabError`: the image holds what cannot be made here, such as a device.
    """
    with (
        tempfile.TemporaryDirectory(prefix=marks.prefix("archive")) as scratch,
        Image.open(archive) as image,
    ):
        root = Path(scratch) / "rootfs"
        for path, entry in sorted({"/": Entry("/", "folder", mode=0o755), **image.tree()}.items()):
            _write(image, entry, path, root / path.lstrip("/"), root)
        for name in ("proc", "dev", "sys", "tmp"):
            (root / name).mkdir(exist_ok=True)
        Path(scratch).chmod(0o755)
        yield root, image


def _write(image: Image, entry: Entry, path: str, target: Path, root: Path) -> None:
    if target != root and not target.parent.resolve().is_relative_to(root.resolve()):
        raise LabError(f"{path} would be outside", "a link leads there")
    if entry.kind == "folder":
        target.mkdir()
        target.chmod(entry.mode & 0o777 | 0o700)
    elif entry.kind == "symlink":
        target.symlink_to(entry.target)
    elif entry.kind in ("file", "hardlink"):
        target.write_bytes(image.read(path))
        target.chmod(entry.mode & 0o777)
    else:
        remedy = "run the image in an engine"
        raise LabError(f"{path} cannot be unpacked", f"it is a {entry.kind}", remedy)
