"""A Podman service of the tests' own: apart from the machine's, ended with all that it started."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labsupport.ownership import marks

PATIENCE_SECONDS = 60
# Debian's defaults, with limits that root has without CAP_SYS_RESOURCE, too; and runc, because crun
# refuses a machine with both versions of cgroups
SETTINGS = """
[containers]
default_capabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""


def why_none() -> str:
    """Tell why there is no Podman of our own here; "" if there can be one."""
    if os.geteuid() != 0:
        return "needs root, to start a Podman of its own"
    missing = [name for name in ("podman", "runc", "unshare") if not _find(name)]
    return f"needs {', '.join(missing)} (apt-get install podman)" if missing else ""


@contextmanager
def podman(storage_driver: str = "vfs") -> Iterator[str]:
    """Start a service with its own storage and network; yield its address."""
    with tempfile.TemporaryDirectory(prefix="lab-podman-") as name:
        folder = Path(name)
        (folder / "containers.conf").write_text(SETTINGS)
        with (folder / "log").open("w+") as log:
            reaper = subprocess.Popen(
                [
                    *marks.reaping("--cgroup=libpod_parent"),
                    *("--", "unshare", "--net", "--mount", *_command(folder, storage_driver)),
                ],
                env={**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
            try:
                _wait_for(folder / "socket", reaper, folder / "log")
                yield f"unix://{folder}/socket"
            finally:
                reaper.communicate()


def _command(folder: Path, storage_driver: str) -> list[str]:
    places = {"root": "storage", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "net"}
    return [
        "podman",
        *(f"--{option}={folder / place}" for option, place in places.items()),
        f"--storage-driver={storage_driver}",
        f"--runtime={_find('runc')}",
        *("--cgroup-manager=cgroupfs", "--events-backend=file"),
        *("system", "service", "--time=0", f"unix://{folder}/socket"),
    ]


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _wait_for(socket: Path, reaper: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not socket.exists():
        if reaper.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"podman did not start: {log.read_text()}")
        time.sleep(0.05)
