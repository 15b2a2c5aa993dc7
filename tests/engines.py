"""An engine of the tests' own for notebooks on this machine, where root runs them."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import nbformat

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
NEEDS = re.compile(r"\A\s*# needs:(.*)")


def find_dockerd() -> str | None:
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}")


def why_none() -> str:
    """Tell why root has no engine of its own here; "" if it has one."""
    if os.geteuid() != 0:
        return "needs root, to start an engine of its own"
    return "" if find_dockerd() else "needs dockerd (apt-get install docker.io)"


@contextmanager
def engine_for_notebooks() -> Iterator[dict[str, str]]:
    """Start an engine; yield the environment that leads to it, with what must not be missing.

    Where there is none, notebooks go without, and skip what needs it.
    """
    if why_none():
        yield {}
        return
    from labsupport.build.bases import base_image
    from labsupport.engine.client import Engine

    with Engine.start_private() as engine:
        base_image(engine)
        yield {"DOCKER_HOST": engine.address, **demand()}


def demand() -> dict[str, str]:
    """Return what makes the skip of a cell for lack of an engine a failure, where root has one."""
    if why_none():
        return {}
    from labsupport.doctor import addresses

    engine = ["engine", "registry"] if addresses.find() else ["engine"]
    return {"LAB_MUST_HAVE": " ".join([os.environ.get("LAB_MUST_HAVE", ""), *engine])}


def containers_of(address: str) -> list[str]:
    """Name the containers of this process that an engine has, running or not.

    One that removes itself (`auto_remove`) may take a moment after its program's end.
    """
    from docker import DockerClient

    from labsupport.engine.listing import as_filter, owner_labels

    ours = as_filter(owner_labels())
    with closing(DockerClient(base_url=address)) as client:
        for _ in range(10):
            found = client.containers.list(all=True, filters=ours, ignore_removed=True)
            left = [f"{each.name} ({each.attrs['Config']['Cmd']})" for each in found]
            if not left:
                break
            time.sleep(0.2)
        return left


def uses_engine(notebook: Path) -> bool:
    """Tell whether a cell of the notebook needs an engine."""
    cells = nbformat.read(notebook, as_version=4).cells
    needs = [NEEDS.match(cell.source) for cell in cells if cell.cell_type == "code"]
    return any("engine" in found[1].replace(",", " ").split() for found in needs if found)
