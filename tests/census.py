"""What there is of the things that experiments make, so that tests can compare before and after."""

import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from labsupport.kernel.procfs import all_pids
from labsupport.ownership import marks

# an engine of our own, a network of a user's, a container's cable
ENGINES_LINK = re.compile(r"labengine\d+$|br-[0-9a-f]{12}$|veth[0-9a-f]{7}$|docker0$")


def owned_by(mark: str) -> set[int]:
    """PIDs of the programs that carry an owner's mark, and of its helper processes."""
    return carrying(f"{marks.VARIABLE}={mark}")


def carrying(variable: str) -> set[int]:
    """PIDs of the processes in whose environment this is set: `NAME=value`."""
    return _in_file("environ", f" {variable} ")


def running(words: str) -> set[int]:
    """PIDs of the processes in whose command line these words are."""
    return _in_file("cmdline", words)


def _in_file(name: str, words: str) -> set[int]:
    found = set()
    for pid in all_pids():
        with suppress(OSError):  # it has ended, or is somebody else's
            told = b" " + Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ")
            if words.encode() in told:
                found.add(pid)
    return found


def descendants(root: int) -> set[int]:
    """PIDs of a process, its children, and theirs."""
    return {root, *(each.pid for each in psutil.Process(root).children(recursive=True))}


def made(mark: str, folder: Path) -> dict[str, list[str]]:
    """Everything outside processes that the owner of `mark`, working in `folder`, has made here."""
    name = mark.replace(":", "-")
    return {
        "mounts": [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if name in line or str(folder) in line
        ],
        "cgroups": cgroups(name),
        "loop devices": loop_devices(folder),
        "links": [link for link in links() if link.startswith("lab")],
    }


def cgroups(name: str = "labsupport-") -> list[str]:
    """Cgroup folders with `name` in theirs, in every hierarchy."""
    roots = [
        Path(fields[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if (fields := line.split()) and line.partition(" - ")[2].startswith("cgroup")
    ]
    return [folder for root in roots for folder, _, _ in os.walk(root) if name in Path(folder).name]


def loop_devices(folder: Path) -> list[str]:
    """Loop devices whose file is, or was, in `folder`."""
    if shutil.which("losetup") is None:
        return []
    table = subprocess.run(
        ["losetup", "--json"], check=False, capture_output=True, text=True
    ).stdout
    devices = json.loads(table)["loopdevices"] if table.strip() else []
    return [d["name"] for d in devices if str(folder) in (d["back-file"] or "")]


def links() -> list[str]:
    """Network links of this network namespace, except those that engines make."""
    return sorted(name for name in os.listdir("/sys/class/net") if not ENGINES_LINK.match(name))
