"""The limits that hold for any process: the files of the group it is in, in whatever way it came.

`Cgroup.files()` tells of groups that we made; this also of a container's, or of our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labsupport.errors import ProcessGone
from labsupport.linux.cgroup import v1, v2
from labsupport.linux.cgroup.controllers import Controller
from labsupport.linux.cgroup.hierarchies import CONTROLLERS, V1_NAME, Hierarchy, find

KINDS: dict[int, dict[str, type[Controller]]] = {
    1: {"memory": v1.Memory, "cpu": v1.Cpu, "pids": v1.Pids, "io": v1.Io},
    2: {"memory": v2.Memory, "cpu": v2.Cpu, "pids": v2.Pids, "io": v2.Io},
}


def limit_files_of(pid: int | str = "self") -> dict[str, tuple[Path, str]]:
    """Return {limit: (its file, what the file says)} for the group that a process is in.

    A limit is missing if the group has no such file: no controller, or the topmost group of v2,
    which has no limits at all.

    Raises:
        ProcessGone: there is no such process.

    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except FileNotFoundError:
        raise ProcessGone(f"process {pid} is in no group", "it has ended") from None
    groups = {name: path for _, names, path in (line.split(":", 2) for line in lines)
              for name in names.split(",")}  # fmt: skip
    return {
        what: (path, path.read_text().rstrip("\n"))
        for what, path in _paths(groups)
        if path.exists()
    }


def _paths(groups: dict[str, str]) -> Iterator[tuple[str, Path]]:
    for controller in CONTROLLERS:
        tree = find(controller)
        if tree is None:
            continue
        name = V1_NAME.get(controller, controller) if tree.version == 1 else ""
        folder = _folder(tree, groups.get(name, "/"))
        for what, file in KINDS[tree.version][controller].limit_files.items():
            yield what, folder / file


def _folder(tree: Hierarchy, group: str) -> Path:
    """Find a group's folder; /proc writes it as seen from the tree's own root."""
    inside = group.removeprefix(tree.root) if tree.root != "/" else group
    return tree.mount / inside.lstrip("/")
