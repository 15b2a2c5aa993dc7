"""The command `docker`: which one builds, and what its environment must say.

It gets a folder of its own for its settings (`DOCKER_CONFIG`): otherwise it writes what `docker
login` is given to `~/.docker/config.json`, where it stays.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from labsupport import trace
from labsupport.doctor.addresses import packages_of_docker
from labsupport.engine.listing import image_labels, owner_labels
from labsupport.errors import LabError
from labsupport.kernel import refusals
from labsupport.ownership import marks

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

BUILDX_SINCE = 23  # from this version on, the command needs a plug-in to build with BuildKit


@dataclass(frozen=True)
class Builder:
    """Who builds: the start of the command line, and what its environment says besides ours."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_buildkit: bool = False


def builder_of(engine: Engine) -> Builder:
    """Find the builder of an engine: BuildKit where it is. Raises `LabError`."""
    where = {"DOCKER_HOST": engine.address}
    if engine.kind == "podman" and (podman := shutil.which("podman")):
        remote = (podman, "--remote", f"--url={engine.address}", "build", "--layers")
        return Builder("Podman", remote, {})
    if engine.kind == "docker" and (program := buildkit_command()):
        how = {**where, "DOCKER_BUILDKIT": "1"}
        return Builder("BuildKit", (program, "build", "--progress=plain"), how, is_buildkit=True)
    name = "Podman" if engine.kind == "podman" else "the classic builder"
    command = (_commands() or [_missing()])[0]
    return Builder(name, (command, "build", "--force-rm"), {**where, "DOCKER_BUILDKIT": "0"})


def buildkit_command() -> str | None:
    """Find the first `docker` on the PATH that builds with BuildKit; None if none does."""
    # Docker 18.09 to 20.10 have it built in, later ones as the plug-in buildx; the page has none,
    # and to ask there would take ten seconds
    if os.environ.get("LAB_IN_PAGE") == "1":
        return None
    return next(filter(_builds_with_buildkit, _commands()), None)


def engine_environment(address: str, kind: str = "docker") -> dict[str, str]:
    """Return what makes `docker`, typed in a cell, reach this engine, and build with BuildKit.

    Podman does not speak BuildKit's protocol: it is asked as the classic builder would be.

    It has settings of its own; `$LAB_LABEL` marks what is made as this notebook's, and
    `$LAB_IMAGE_LABEL` an image.
    """
    found = {"DOCKER_HOST": address, "DOCKER_CONFIG": _settings()}
    for name, labels in (("LAB_LABEL", owner_labels()), ("LAB_IMAGE_LABEL", image_labels())):
        found[name] = "=".join(*labels.items())
    if program := buildkit_command():
        folder, path = os.path.dirname(program), os.environ.get("PATH", os.defpath)
        buildkit = "0" if kind == "podman" else "1"
        found |= {"PATH": f"{folder}:{path}", "DOCKER_BUILDKIT": buildkit}
    return found


@functools.cache
def _settings() -> str:
    """Make a folder for what `docker login` writes; it goes with this process."""
    folder = tempfile.mkdtemp(prefix=marks.prefix("docker"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _commands() -> list[str]:
    folders = os.environ.get("PATH", os.defpath).split(":")
    found = [shutil.which("docker", path=folder) for folder in folders]
    return list(dict.fromkeys(filter(None, found)))


@functools.cache
def _builds_with_buildkit(program: str) -> bool:
    version = re.search(r"version (\d+)\.", _said(program, "--version"))
    if version and int(version[1]) < BUILDX_SINCE:
        return True
    return "buildx" in _said(program, "buildx", "version")


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _missing() -> NoReturn:
    why = "nothing of that name is on the PATH"
    remedy = refusals.gather().install(" ".join(packages_of_docker()), "docker")
    raise LabError("there is no command `docker` here", why, remedy)


def seen_in_proc(*arguments: str) -> tuple[str, str]:
    """Start `docker ARGUMENTS…` and end it; return what `/proc/PID/cmdline` said, and its mode.

    The mode, as `ls -l` shows it, tells who may read that.
    """
    program, quiet = buildkit_command() or shutil.which("docker") or _missing(), subprocess.DEVNULL
    with subprocess.Popen(
        [program, *arguments], env={**os.environ, **trace.environment},
        stdin=quiet, stdout=quiet, stderr=quiet,
    ) as process:  # fmt: skip
        words, file = b"", Path(f"/proc/{process.pid}/cmdline")
        while not words and process.poll() is None:  # for an instant, exec has none to show
            words = file.read_bytes()
        mode = stat.filemode(file.stat().st_mode)
        process.kill()
    return words.replace(b"\0", b" ").decode().strip(), mode
