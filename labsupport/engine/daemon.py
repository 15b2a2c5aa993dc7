"""Start a Docker daemon of our own: in the Lab VM for its whole life, elsewhere for one owner.

Whether it is ready is not guessed: dockerd says so on a socket, as it would to systemd. See
sd_notify(3).
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from labsupport.engine import guest_disk
from labsupport.engine.addresses import LONGEST_SOCKET_PATH
from labsupport.errors import EngineFailed, EngineMissing

GUEST_FOLDER = guest_disk.DATA.parent
USUAL_SOCKET = Path("/var/run/docker.sock")
READY_SECONDS = 30.0
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"

# No firewall rules: in the guest there is no outside to translate addresses for, and they take two
# seconds; at a host they are not ours to make. Ports are published by docker-proxy.
_OPTIONS: Mapping[str, object] = {"iptables": False, "ip6tables": False, "log-level": "warn"}
# The reaper makes the bridge, and writes its name and its range here.
_NETWORKS = ("--bridge={bridge}", "--default-address-pool=base={networks},size=24")


@dataclass(frozen=True)
class Daemon:
    """A running dockerd: where it listens, and the process that ends with it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What `DOCKER_HOST` would be."""
        return f"unix://{self.folder / 'docker.sock'}"

    def stop(self) -> None:
        """End it with all its containers, and remove its folder; only for a private one."""
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()


def in_guest(folder: Path = GUEST_FOLDER) -> Daemon:
    """Find the guest's own daemon, or start it: ready in about two seconds.

    It lives as long as the guest. Its images are on the guest's disk, or in memory if it has
    none (see `guest_disk`). It also answers at the usual address, so that `docker` in a terminal
    finds it.
    """
    dockerd = _program()
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with _alone(folder / "lock"):
        if _answers(folder / "docker.sock"):
            return Daemon(folder)
        _cover_settings()
        guest_disk.prepare(folder / "data")
        with (folder / "log").open("w+b") as log:
            _start([], [dockerd], folder, {}, log)
        if USUAL_SOCKET.is_symlink() or not USUAL_SOCKET.exists():
            USUAL_SOCKET.unlink(missing_ok=True)
            USUAL_SOCKET.symlink_to(folder / "docker.sock")
    return Daemon(folder)


def private(owner: int | None = None, storage_driver: str | None = None) -> Daemon:
    """Start a daemon that has nothing in common with the machine's own, and ends with `owner`.

    It has a bridge of its own: containers reach each other and this machine, and the world is out
    of reach (no address translation), but for the network `host`. Ports are published at 127.0.0.1
    from that bridge; from a network that was made later, at all addresses unless told otherwise.
    `owner` is a process ID, by default this process. Without a storage driver, Docker chooses one.
    """
    dockerd = _program()
    if os.geteuid() != 0:
        raise EngineFailed("cannot start an engine of our own", "only root can", "see DOCKER_HOST")
    folder = Path(tempfile.mkdtemp(prefix="labsupport-engine-"))
    if len(str(folder)) + len("/exec/containerd/containerd.sock.ttrpc") > LONGEST_SOCKET_PATH:
        folder.rmdir()
        why = f"{folder} is too long for a socket's address"
        raise EngineFailed("cannot start an engine of our own", why, "TMPDIR=/tmp")
    group = f"/{folder.name}"
    reaper = [sys.executable, "-m", "labsupport.linux.reaper", str(owner or os.getpid())]
    reaper += ["--cover=/etc/docker", "--cover=/run/containerd"]
    reaper += [f"--cgroup={folder.name}", f"--remove={folder}", f"--bridge={folder / 'data'}", "--"]
    options = {
        "ip": "127.0.0.1",
        "ip-forward": False,
        "cgroup-parent": group,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        **({"storage-driver": storage_driver} if storage_driver else {}),
    }
    with (folder / "log").open("w+b") as log:
        return Daemon(folder, _start(reaper, [dockerd, *_NETWORKS], folder, options, log))


def _start(
    prefix: Sequence[str],
    dockerd: Sequence[str],
    folder: Path,
    options: Mapping[str, object],
    log: IO[bytes],
) -> subprocess.Popen[bytes]:
    (folder / "daemon.json").write_text(json.dumps({**_OPTIONS, **options}))
    argv = [*prefix, *dockerd, f"--config-file={folder / 'daemon.json'}"]
    argv += [f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}"]
    argv += [f"--pidfile={folder / 'pid'}", f"--host=unix://{folder / 'docker.sock'}"]
    (folder / "pid").unlink(missing_ok=True)
    with _notifications(folder / "notify") as ready:
        process = subprocess.Popen(
            argv,
            env={
                **{name: text for name, text in os.environ.items() if name != "DOCKER_HOST"},
                "HOME": str(folder),
                "NOTIFY_SOCKET": str(folder / "notify"),
                "PATH": f"{_legacy(folder)}:{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}",
            },
            stdin=subprocess.PIPE if prefix else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(ready, process, log)
        except BaseException:  # an interrupted cell, too
            process.terminate()
            process.wait()
            raise
    return process


def _legacy(folder: Path) -> Path:
    """Make a folder in which iptables is the legacy one.

    Docker's name server redirects a container's questions by it, and Debian's User-Mode Linux
    does not take the rules of the one that is built on nftables.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("iptables", "ip6tables"):
        legacy = shutil.which(f"{name}-legacy", path=f"{os.environ.get('PATH')}:{_SYSTEM_PATH}")
        if legacy and not (programs / name).is_symlink():
            (programs / name).symlink_to(legacy)
    return programs


def _wait(ready: socket.socket, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    ended = os.pidfd_open(process.pid)
    try:
        told = select.select([ready.fileno(), ended], [], [], READY_SECONDS)[0]
    finally:
        os.close(ended)
    if ready.fileno() in told and b"READY=1" in ready.recv(4096):
        return
    if ended in told:
        process.wait()
    log.seek(0)
    last = log.read().decode(errors="replace").strip().splitlines()[-5:]
    raise EngineFailed(
        "dockerd did not start" if ended in told else f"dockerd not ready in {READY_SECONDS:.0f} s",
        "\n".join(last) or f"it ended with status {process.returncode} and without a word",
        "try `dockerd --debug` in a terminal",
    )


@contextmanager
def _notifications(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        yield listener
    path.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _cover_settings() -> None:
    """Hide the host's settings of Docker, which the guest's root may not even be able to read."""
    if not os.path.ismount("/etc/docker"):
        Path("/etc/docker").mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/docker"], check=True)


def _program() -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    if not (dockerd := shutil.which("dockerd", path=path)):
        raise EngineMissing(
            "there is no Docker engine",
            "no program `dockerd` was found",
            "sudo apt-get install docker.io (the Lab VM uses the programs of its host)",
        )
    return dockerd
