"""A sandbox from a big Jupyter process against the programs that do the same: medians.

    python benchmarks/sandbox_start.py [ROUNDS]

Each runs `true` as PID 1 of new PID and mount namespaces with a fresh /proc: a `Sandbox`,
unshare(1), and, where installed, bwrap(1) and crun(1), which also prepare a root file system.
They take turns. The process that asks is blown up to 300 MB first, as a notebook with a data set
is.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from labsupport import Sandbox
from labsupport.sandbox.launch import may_make_namespaces

ROOT = may_make_namespaces()
COMMANDS = {
    "unshare": ["unshare", *([] if ROOT else ["-r"]), "--fork", "--pid", "--mount-proc", "true"],
    "bwrap": [
        *("bwrap", "--unshare-pid", "--as-pid-1", "--bind", "/", "/"),
        *("--dev", "/dev", "--proc", "/proc", "true"),
    ],
}
NAME = f"sandbox-start-{os.getpid()}"


def sandbox() -> None:
    with Sandbox(new={"pid", "mount"}) as box:
        box.run(["true"])


def bundle(folder: Path) -> list[str]:
    """Write what crun(1) wants to know; return the command."""
    settings = {
        "ociVersion": "1.0.0",
        "root": {"path": "/", "readonly": True},
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0},
                    "env": [f"PATH={os.environ['PATH']}"]},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    state = f"--root={folder / 'state'}"
    return ["crun", "--cgroup-manager=disabled", state, "run", f"--bundle={folder}", NAME]


def milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def comparable(name: str, argv: list[str]) -> bool:
    """Try a program once; say by name what does not run here."""
    if not shutil.which(argv[0]):
        print(f"{name:10} not compared: it is not installed")
        return False
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    if tried.returncode:
        print(f"{name:10} not compared: {tried.stderr.strip()}")
    return tried.returncode == 0


def take_turns(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median of each, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(milliseconds(action))
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    ballast = bytearray(os.urandom(1)) * (300 << 20)
    sandbox()  # the first one starts the zygote
    with tempfile.TemporaryDirectory() as folder:
        commands = COMMANDS | ({"crun": bundle(Path(folder))} if ROOT else {})
        actions: dict[str, Callable[[], object]] = {"Sandbox": sandbox}
        for name, argv in commands.items():
            if comparable(name, argv):
                actions[name] = partial(subprocess.run, argv, check=True)
        medians = take_turns(actions, rounds)
    print(f"asked by a process of {len(ballast) >> 20} MB, {rounds} rounds, medians")
    for name, median in medians.items():
        print(f"{name:10} {median:6.2f} ms   {median / medians['Sandbox']:4.2f} of a Sandbox")


if __name__ == "__main__":
    main()
